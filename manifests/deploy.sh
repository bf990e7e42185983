#!/usr/bin/env bash
# Installs the operator into the test cluster and waits until it works with the image that was built last.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/../tests/kind/env.sh"
namespace=batchai-system

# The tag stays while the image changes: the pod template carries the image's id, so a new one rolls out.
roll_out() {
  local id
  id=$(docker image inspect --format '{{.Id}}' batchai/operator:0.1.0)
  kubectl patch deployment batchai-operator -n $namespace --type merge \
    -p "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"batchai.dev/image-id\":\"$id\"}}}}}" >/dev/null
  kubectl rollout status deployment batchai-operator -n $namespace --timeout=180s >&2
}

kubectl apply --server-side --force-conflicts -k "$repository/manifests" >/dev/null
roll_out || {
  kubectl describe pods -n $namespace | tail -n 30 >&2
  kubectl logs -n $namespace deployment/batchai-operator --tail=30 >&2 || true
  fail "the operator did not start; see above"
}
