#!/usr/bin/env bash
# The service's own quickstart on the test cluster: from job.json to a downloaded model, each step as its command.
# KEEP=1 leaves the resource group for a look around.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/../tests/kind/env.sh"
cd "$repository/quickstart"
export PATH=$repository/.venv/bin:$PATH
group=batchai-quickstart
account=batchaitest
job=cntk_python_1
place=(-g "$group" -w quickstart -e quickstart)
data=$BATCHAI_CACHE/mnist
EPOCHS=${EPOCHS:-2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*"; }

# Prints a command as a user would type it, then runs it.
run() {
  printf '+ %s\n' "$*"
  "$@"
}

# az's --generate-ssh-keys writes to ~/.ssh; a quickstart has no business there.
batchai() { HOME=$work kubectl-batchai "$@"; }

show() {
  printf '+ kubectl batchai %s\n' "$*"
  batchai "$@"
}

prepare() {
  ./data.sh "$data"
  eval "$("$repository/tests/azure/storage-env.sh")"
  if batchai group show -n $group >/dev/null 2>&1; then
    say "removing what an earlier run left"
    batchai group delete -n $group -y
  fi
}

main() {
  prepare
  step "1. Create a resource group, a workspace and a cluster of one node"
  show group create -n $group -l eastus
  show workspace create -g $group -n quickstart -l eastus
  show cluster create -n nc6 -g $group -w quickstart -s Standard_NC6 -i UbuntuDSVM -t 1 --generate-ssh-keys

  step "2. Look at the cluster"
  show cluster list -g $group -w quickstart -o table
  show cluster show -n nc6 -g $group -w quickstart

  step "3. Put the script and the training data into the storage account"
  run python storage.py ../trainer-image/samples/ConvNet_MNIST.py "$data"

  step "4. Create an experiment"
  show experiment create -g $group -w quickstart -n quickstart

  step "5. Submit job.json"
  show job create -n $job -c nc6 "${place[@]}" -f job.json --storage-account-name $account --env MNIST_EPOCHS="$EPOCHS"

  step "6. Follow the training"
  show job file stream -j $job "${place[@]}" -f stderr.txt | tee "$work/stderr.txt"
  show job wait -n $job "${place[@]}"
  check_result

  step "7. List the models"
  show job file list -j $job "${place[@]}" -d MODEL

  step "8. Download a model and load it"
  download_model
  load_model

  step "9. Where the files are"
  show job show -n $job "${place[@]}" --query jobOutputDirectoryPathSegment
  clean_up
  what_next
}

check_result() {
  local errors
  errors=$(sed -n 's/^Final Results: .*errs = \([0-9.]*\)%.*/\1/p' "$work/stderr.txt")
  [ -n "$errors" ] || fail "the training ended without a test result; see the job's stderr.txt above"
  awk "BEGIN { exit !($errors < 3) }" || fail "the model's test error is $errors %, expected below 3 %"
  echo "The model's test error is $errors %."
}

download_model() {
  local url
  url=$(batchai job file list -j $job "${place[@]}" -d MODEL --query "[-1].downloadUrl" -o tsv)
  echo "+ curl -o model.dnn '${url%%\?*}?…'"
  curl -fsS -o "$work/model.dnn" "$url"
  ls -l "$work/model.dnn"
}

# In a pod of the trainer image, because nothing else reads CNTK's format.
load_model() {
  local script='import cntk, sys; m = cntk.load_model("/tmp/model.dnn"); print("loaded", m.output.shape, "outputs")'
  kubectl run load-model -n $group --image=batchai/cntk:2.7-cpu --restart=Never --command -- sleep 300 >/dev/null
  kubectl wait -n $group pod/load-model --for=condition=Ready --timeout=60s >/dev/null
  kubectl exec -i -n $group load-model -- sh -c 'cat >/tmp/model.dnn' <"$work/model.dnn"
  run kubectl exec -n $group load-model -- python -W ignore -c "$script" 2>/dev/null | tail -n 2
  kubectl delete pod load-model -n $group --wait=false >/dev/null
}

clean_up() {
  if [ -n "${KEEP:-}" ]; then return; fi
  step "Clean up (KEEP=1 would keep it)"
  show group delete -n $group -y
}

what_next() {
  cat <<EOF2

It works. What to try next:
  KEEP=1 make quickstart                       keep the group, then look around:
  export KUBECONFIG=$KUBECONFIG
  kubectl get batchai -n $group                the resources as Kubernetes shows them
  kubectl explain bjob.spec                    every field of a job
  kubectl apply -k manifests/samples           the same job without the command line
  make test                                    everything that is tested, on this cluster
EOF2
}

main
