# shellcheck shell=bash
# Sourced by every script: where things are, and which Docker engine and cluster are ours.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Outside of the checkout, so that every clone on a machine shares what was built.
export BATCHAI_CACHE=${BATCHAI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/batchai}
export CLUSTER=${CLUSTER:-batchai}
export KUBECONFIG=$BATCHAI_CACHE/kubeconfig
export PATH=$BATCHAI_CACHE/bin:$PATH
engine=$BATCHAI_CACHE/engine
build=$BATCHAI_CACHE/build
mkdir -p "$BATCHAI_CACHE/bin" "$build"

# The socket exists only while, or after, an engine of our own was needed.
if [ -S "$engine/docker.sock" ]; then
  export DOCKER_HOST=unix://$engine/docker.sock
fi

say() { echo "» $*" >&2; }

fail() {
  echo "error: $*" >&2
  exit 1
}

# wait_for SECONDS WHAT COMMAND…: runs the command until it succeeds; WHAT says what was waited for.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $deadline ] || fail "$what did not happen in time"
    sleep 0.5
  done
}

# The mirror that this machine takes Debian packages from; nothing if it is not known.
debian_mirror() { awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true; }

# hash_of PATH…: one hash over the contents and names of files and folders below the repository.
hash_of() {
  (cd "$repository" && find "$@" -type f -not -path '*/__pycache__/*' -not -path '*/node_modules/*' -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
}

# stamped NAME HASH: whether NAME was last built from these inputs; stamp NAME HASH records it.
stamped() { [ "$(cat "$build/$1.stamp" 2>/dev/null)" = "$2" ]; }
stamp() { echo "$2" >"$build/$1.stamp"; }

# note IMAGE: the file in a node's /kind/images that holds the id of the image that the node was given.
note() { echo "${1//[:\/]/_}"; }

# One at a time: two runs beside each other would build and load the same things.
lock() {
  exec 9>"$BATCHAI_CACHE/$1.lock"
  flock -w 3600 9 || fail "another run has held $BATCHAI_CACHE/$1.lock for an hour"
}
