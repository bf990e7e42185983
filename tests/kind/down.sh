#!/usr/bin/env bash
# Removes the kind cluster, and our own Docker engine with all that it made. What was built stays in the cache.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"
lock cluster
if [ -n "${DOCKER_HOST:-}" ]; then
  "$repository/tests/kind/engine.sh" up
fi
# Without an engine there is no cluster to remove.
if command -v kind >/dev/null && timeout 10 docker info >/dev/null 2>&1; then
  kind delete cluster --name "$CLUSTER"
fi
"$repository/tests/kind/engine.sh" down
rm -rf "$KUBECONFIG" /tmp/batchai-azure-files /tmp/batchai-audit
say "the cluster is gone; what was built stays in $BATCHAI_CACHE (remove that folder to start from nothing)"
