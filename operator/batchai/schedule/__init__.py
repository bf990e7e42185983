"""Pure scheduling: which nodes a cluster has, who holds them, and which queued job starts next."""
