"""One reconciler per kind: read → plan (pure) → act → one status write (design §3)."""
