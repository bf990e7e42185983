#!/usr/bin/env bash
# Deploys Azure's stand-ins into the test cluster and waits until mounts and GPUs are there.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/../kind/env.sh"

main() {
  "$repository/tests/kind/images.sh" azure
  kubectl get secret -n azure storage-account >/dev/null 2>&1 || make_account
  # The tag stays while the image changes: the pod templates carry the image's id, so a new one rolls out.
  sed "s/IMAGE_ID/$(docker image inspect --format '{{.Id}}' batchai-test/azure:dev | tr -d :)/" \
    "$repository/tests/azure/manifests.yaml" | kubectl apply -f - >/dev/null 2>"$build/apply.log" ||
    fail "the stand-ins were refused: $(cat "$build/apply.log")"
  roll_out deployment/azurite
  roll_out deployment/azure-files
  roll_out daemonset/node-plugin
  wait_for 60 "a GPU on every worker ('kubectl logs -n azure -l app=node-plugin' tells why)" gpus
}

# The key is made once per cluster and is seen by nobody.
make_account() {
  kubectl create namespace azure --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  head -c 64 /dev/urandom | base64 -w0 >"$build/account-key"
  kubectl create secret generic storage-account -n azure --from-literal=azurestorageaccountname=batchaitest \
    --from-file=azurestorageaccountkey="$build/account-key" >/dev/null
  rm "$build/account-key"
}

roll_out() {
  kubectl rollout status -n azure "$1" --timeout=180s >/dev/null ||
    fail "$1 did not start: 'kubectl describe pods -n azure' tells why"
}

# Without nodes that a bench which was killed left for its next run.
gpus() {
  [ "$(kubectl get nodes -l kubernetes.io/os -o jsonpath='{range .items[*]}{.status.allocatable.nvidia\.com/gpu}{"\n"}{end}' |
    grep -c '^[1-9]')" = 3 ]
}

main
