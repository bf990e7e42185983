#!/usr/bin/env bash
# images.sh [NAME…]: builds the images whose inputs changed, and loads into the nodes those that they lack.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"
here=$repository/tests/kind
nodes=worker # those that are given images

main() {
  lock images
  [ $# -gt 0 ] || set -- operator launcher cntk file_server azure
  local name
  for name in "$@"; do "$name"; done
}

operator() {
  image batchai/operator:0.1.0 operator/Dockerfile . debian:bookworm-slim \
    operator/Dockerfile operator/batchai requirements.lock .dockerignore
}

launcher() { image batchai/launcher:0.1.0 launcher/Dockerfile launcher debian:bookworm-slim launcher; }

file_server() {
  image batchai/file-server:0.1.0 file-server/Dockerfile file-server debian:bookworm-slim file-server
}

cntk() {
  image batchai/cntk:2.7-cpu trainer-image/Dockerfile trainer-image python:3.6-slim-bullseye trainer-image/Dockerfile
}

ash() { test_image ash; }
bare() { test_image bare; }
caffe2() { test_image caffe2 python:3.6-slim-bullseye; }
horovod() { torch; test_image horovod batchai-test/torch:dev; }
mpi() { test_image mpi; }
nfs() { test_image nfs; }
torch() { test_image torch; }
tensorflow() { test_image tensorflow; }

# test_image NAME [BASE]: what jobs of the end-to-end tests run in.
test_image() {
  local context=tests/e2e/images/$1
  image "batchai-test/$1:dev" "$context/Dockerfile" "$context" "${2:-debian:bookworm-slim}" "$context"
}

azure() {
  nodes=. # Azure itself runs beside the control plane
  image batchai-test/azure:dev tests/azure/Dockerfile tests/azure debian:bookworm-slim tests/azure
  nodes=worker
}

# image TAG DOCKERFILE CONTEXT BASE INPUT…
image() {
  local tag=$1 dockerfile=$2 context=$3 base=$4 inputs label=batchai.dev/inputs
  shift 4
  "$here/base-images.sh" "$base"
  inputs=$(hash_of "$@")-$(docker image inspect --format '{{.Id}}' "$base" | cut -c8-19)
  if [ "$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$tag" 2>/dev/null)" != "$inputs" ]; then
    say "building $tag"
    # The classic builder and the host's network work with every engine and need no plugin.
    DOCKER_BUILDKIT=0 docker build --network host --label "$label=$inputs" -t "$tag" \
      -f "$repository/$dockerfile" "$repository/$context" >"$build/build.log" 2>&1 || {
      tail -n 30 "$build/build.log" >&2
      fail "$tag did not build (the whole log: $build/build.log)"
    }
  fi
  load "$tag"
}

# Into every node of interest whose image of that tag is another one.
load() {
  local tag=$1 id node lacking=()
  id=$(docker image inspect --format '{{.Id}}' "$tag")
  for node in $(kind get nodes --name "$CLUSTER" 2>/dev/null | grep "$nodes"); do
    [ "$(docker exec "$node" cat "/kind/images/$(note "$tag")" 2>/dev/null)" = "$id" ] || lacking+=("$node")
  done
  [ ${#lacking[@]} -gt 0 ] || return 0
  say "loading $tag"
  kind load docker-image "$tag" --name "$CLUSTER" --nodes "$(IFS=, && echo "${lacking[*]}")" 2>&1 | tail -n 1 >&2
  # What a node was given is noted on it: the note goes with the node.
  for node in "${lacking[@]}"; do
    docker exec "$node" sh -c "mkdir -p /kind/images && echo $id > '/kind/images/$(note "$tag")'"
  done
}

main "$@"
