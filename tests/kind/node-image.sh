#!/usr/bin/env bash
# Prints the name of kind's node image: empty for kind's own default where that can be pulled; else that of an
# image built here from Debian packages and Go modules. README.md says why each piece is as it is.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"
here=$repository/tests/kind

KUBERNETES=v1.36.3
DEFAULT=kindest/node:v1.37.0
flags="-X k8s.io/component-base/version.gitVersion=$KUBERNETES -X k8s.io/component-base/version.gitMajor=1"
flags="-s -w $flags -X k8s.io/component-base/version.gitMinor=36 -X k8s.io/component-base/version.gitTreeState=clean"
node_packages=systemd,systemd-sysv,dbus,containerd,runc,containernetworking-plugins,iptables,nftables,iproute2
node_packages=$node_packages,conntrack,ethtool,socat,kmod,jq,procps,curl,util-linux,mount,pigz,e2fsprogs,ca-certificates

main() {
  if can_pull; then
    return
  fi
  local inputs name
  inputs=$(hash_of tests/kind/node tests/kind/node-image.sh tests/kind/components tests/kind/pause tests/kind/localkube \
    tests/kind/runc-nosysres tests/azure)
  name=batchai/kind-node:$inputs
  if ! docker image inspect "$name" >/dev/null 2>&1; then
    say "building the node image (first time: about 10 minutes)"
    build_image "$name" >&2
  fi
  link_kubectl
  echo "$name"
}

# Whether kind can take its own image. The answer is kept: asking a registry that is not there takes its time.
can_pull() {
  local answer=$build/node-image.source
  if [ ! -f "$answer" ]; then
    if docker image inspect "$DEFAULT" >/dev/null 2>&1 || timeout 20 docker manifest inspect "$DEFAULT" >/dev/null 2>&1; then
      echo registry >"$answer"
    else
      echo own >"$answer"
    fi
  fi
  [ "$(cat "$answer")" = registry ]
}

build_image() {
  "$here/require.sh" node_image
  local root
  root=$(mktemp -d "$build/node.XXXX")
  # shellcheck disable=SC2064 # the folder's name of now
  trap "rm -rf '$root'" EXIT
  build_localkube &
  local compile=$!
  # shellcheck disable=SC2046 # no mirror means mmdebstrap's own
  mmdebstrap --quiet --variant=minbase --include="$node_packages" bookworm "$root" $(debian_mirror)
  "$here/base-images.sh" debian:bookworm-slim
  wait "$compile" || fail "localkube did not build"
  furnish "$root"
  preload "$root"
  tar -C "$root" --numeric-owner --xattrs -cf - . | docker import - "$1-root" >/dev/null
  # An import cannot set the signal that ends systemd; a build can.
  DOCKER_BUILDKIT=0 docker build -q -t "$1" - >/dev/null <<DOCKERFILE
FROM $1-root
ENV container=docker
ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]
STOPSIGNAL SIGRTMIN+3
DOCKERFILE
}

# One binary for every component; compiling it is the slow part, so its flags never vary.
build_localkube() {
  local inputs
  inputs=$(hash_of tests/kind/localkube)-$KUBERNETES
  stamped localkube "$inputs" && [ -x "$build/localkube" ] && return
  say "compiling Kubernetes $KUBERNETES"
  (cd "$here/localkube" && go build -trimpath -ldflags "$flags" -o "$build/localkube" .)
  stamp localkube "$inputs"
}

link_kubectl() { ln -sf "$build/localkube" "$BATCHAI_CACHE/bin/kubectl"; }

# Our files, the binaries, and what kind and kubeadm expect of a node.
furnish() {
  local root=$1 name
  # containerd's and the kubelet's units are ours.
  rm -f "$root/lib/systemd/system/containerd.service"
  cp -a "$here/node/." "$root/"
  install -m 755 "$build/localkube" "$root/usr/bin/localkube"
  for name in kubelet kubeadm kubectl; do ln -s localkube "$root/usr/bin/$name"; done
  ln -s /usr/bin/containerd /usr/bin/ctr "$root/usr/local/bin/"
  mkdir -p "$root/opt/cni" "$root/kind" "$root/usr/local/sbin"
  ln -s /usr/lib/cni "$root/opt/cni/bin"
  echo $KUBERNETES >"$root/kind/version"
  # A pod may ask for a capability that the machine does not have, as a node's own containers do.
  install -m 755 "$here/runc-nosysres" "$root/usr/local/sbin/runc"
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  for name in containerd kubelet node-dns; do
    ln -sf "/etc/systemd/system/$name.service" "$root/etc/systemd/system/multi-user.target.wants/$name.service"
  done
}

# The components' images into the node's containerd, because a node has nowhere to pull them from; and the Azure
# stand-ins', because every cluster needs them and a node that has them is ready a minute earlier.
preload() {
  local root=$1 state context tags
  context=$(mktemp -d "$build/components.XXXX")
  install "$build/localkube" "$here/components/kindnet-lite" "$context"
  DOCKER_BUILDKIT=0 docker build -q --network host -t batchai/kind-components -f "$here/components/Dockerfile" "$context"
  (cd "$here/pause" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$context/pause" .)
  printf 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n' >"$context/Dockerfile"
  mapfile -t tags < <("$build/localkube" kubeadm config images list --kubernetes-version $KUBERNETES)
  local pause=() components=(localhost/kindnet-lite:1) tag
  for tag in "${tags[@]}"; do
    case $tag in
    */pause:*) pause+=("$tag") ;;
    *) components+=("$tag") ;;
    esac
  done
  # containerd's own sandbox image, whatever kubeadm's list says (node/etc/containerd/config.toml).
  pause+=(registry.k8s.io/pause:3.10)
  DOCKER_BUILDKIT=0 docker build -q -t batchai/kind-pause "$context"
  for tag in "${components[@]}"; do docker tag batchai/kind-components "$tag"; done
  for tag in "${pause[@]}"; do docker tag batchai/kind-pause "$tag"; done
  state=$(mktemp -d "$build/containerd.XXXX")
  containerd --root "$root/var/lib/containerd" --state "$state" --address "$state/socket" >"$state/log" 2>&1 &
  local containerd=$!
  wait_for 30 "containerd's answer ($state/log)" ctr --address "$state/socket" version
  "$here/images.sh" azure
  mkdir -p "$root/kind/images"
  docker image inspect --format '{{.Id}}' batchai-test/azure:dev >"$root/kind/images/$(note batchai-test/azure:dev)"
  docker save "${components[@]}" "${pause[@]}" batchai-test/azure:dev | ctr --address "$state/socket" -n k8s.io images import -
  # Layers are unpacked now; as blobs they would only make each node's start slower.
  local layers
  mapfile -t layers < <(find "$root/var/lib/containerd/io.containerd.content.v1.content/blobs/sha256" -size +4M)
  ctr --address "$state/socket" -n k8s.io content rm "${layers[@]/#*\//sha256:}" >/dev/null
  kill "$containerd"
  wait "$containerd" || true
  rm -f "${layers[@]}"
  docker rmi "${components[@]}" "${pause[@]}" >/dev/null
  rm -rf "$state" "$context"
}

main
