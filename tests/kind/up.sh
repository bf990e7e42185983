#!/usr/bin/env bash
# Makes the kind cluster of kind-config.yaml, or finds it in good health.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"
here=$repository/tests/kind
KIND=v0.33.0

main() {
  lock cluster
  "$here/require.sh" cluster
  "$here/engine.sh" up
  # shellcheck source=tests/kind/env.sh
  source "$here/env.sh"
  install_kind
  if healthy; then
    return
  fi
  # Making it anew takes half a minute: quicker and surer than mending what a crash left.
  kind delete cluster --name "$CLUSTER" 2>/dev/null || true
  local image started=$SECONDS
  image=$("$here/node-image.sh")
  say "making the kind cluster '$CLUSTER'"
  mkdir -p /tmp/batchai-azure-files /tmp/batchai-audit
  cp "$here/audit-policy.yaml" /tmp/batchai-audit/
  kind create cluster --name "$CLUSTER" --config "$repository/kind-config.yaml" ${image:+--image "$image"} --wait 120s >&2 ||
    fail "kind could not make the cluster; 'make cluster-down' cleans up, 'docker ps' and 'docker logs' tell more"
  stamp cluster "$(configuration)"
  command -v kubectl >/dev/null || fail "missing: kubectl (kubernetes.io/docs/tasks/tools)"
  wait_for 120 "all nodes' readiness" ready
  say "the cluster is up after $((SECONDS - started)) s"
}

install_kind() {
  [ "$(kind version 2>/dev/null | awk '{print $2}')" = $KIND ] && return
  say "installing kind $KIND"
  GOBIN=$BATCHAI_CACHE/bin go install "sigs.k8s.io/kind@$KIND"
}

# A cluster that was made from another configuration is made anew.
configuration() { hash_of kind-config.yaml tests/kind/audit-policy.yaml; }

healthy() {
  stamped cluster "$(configuration)" || return 1
  kind get clusters 2>/dev/null | grep -qx "$CLUSTER" || return 1
  kind export kubeconfig --name "$CLUSTER" >/dev/null 2>&1 || return 1
  local deadline=$((SECONDS + 20))
  until ready; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 1
  done
}

# Every container runs, and every node reports Ready.
ready() {
  [ "$(docker ps -q --filter "label=io.x-k8s.kind.cluster=$CLUSTER" | wc -l)" = 4 ] &&
    [ "$(timeout 10 kubectl get nodes --no-headers 2>/dev/null | awk '$2 == "Ready"' | wc -l)" = 4 ]
}

main
