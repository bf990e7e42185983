#!/usr/bin/env bash
# engine.sh up|down: a Docker engine of our own, where none answers.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"
here=$repository/tests/kind

answers() { timeout 10 docker info >/dev/null 2>&1; }

own_pid() {
  local pid
  pid=$(cat "$engine/docker.pid" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] &&
    grep -qzF -- "$engine/data" "/proc/$pid/cmdline" && echo "$pid"
}

# CAP_SYS_RESOURCE is bit 24; without it `docker run --privileged` cannot apply its capabilities.
lacks_sys_resource() { (((0x$(awk '/^CapEff/ {print $2}' /proc/self/status) & 1 << 24) == 0)); }

up() {
  # An engine of our own that was killed leaves its socket: then it is started again, whatever else answers.
  if [ ! -S "$engine/docker.sock" ]; then
    answers && return
  elif [ -n "$(own_pid)" ]; then
    # A busy machine answers late: what lives is not replaced.
    wait_for 120 "an answer of dockerd (its log: $engine/log)" answers
    return
  fi
  "$here/require.sh" engine
  [ "$(id -u)" = 0 ] || fail "no Docker engine answers; start one, or run this as root so that it starts its own"
  clean
  mkdir -p "$engine"
  local arguments=()
  if lacks_sys_resource; then
    arguments+=(--add-runtime "nosysres=$here/runc-nosysres" --default-runtime nosysres)
  fi
  say "starting a Docker engine of our own in $engine"
  # setsid: it outlives this script, and a Ctrl-C in the terminal. The lock (9) is not its business.
  setsid dockerd --data-root "$engine/data" --exec-root "$engine/run" -H "unix://$engine/docker.sock" \
    --pidfile "$engine/docker.pid" "${arguments[@]}" >"$engine/log" 2>&1 </dev/null 9>&- &
  export DOCKER_HOST=unix://$engine/docker.sock
  wait_for 60 "an answer of dockerd (its log: $engine/log)" answers
}

# What a killed engine leaves behind and what would be in a new one's way.
clean() {
  local pid
  if pid=$(own_pid); then
    kill "$pid"
    wait_for 60 "the end of dockerd $pid" stopped "$pid"
  fi
  for pid in $(pgrep -f "$engine/(run|data)" || true); do
    [ "$pid" = $$ ] || kill -9 "$pid" 2>/dev/null || true
  done
  # Node containers whose engine died go on as processes without a master: their cgroups tell which.
  rm -rf "$engine/docker.pid" "$engine/docker.sock" "$engine/run/containerd/containerd.pid"
}

stopped() { ! kill -0 "$1" 2>/dev/null; }

down() {
  local existed=
  [ -d "$engine" ] && existed=1
  clean
  [ -n "$existed" ] || return 0
  awk -v folder="$engine/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r |
    while read -r mount; do umount -l "$mount" 2>/dev/null || true; done
  rm -rf "$engine/run"
  # One that this machine has besides, started meanwhile, lives on those bridges and chains.
  env -u DOCKER_HOST timeout 10 docker info >/dev/null 2>&1 || remove_network
  # cgroup v1: dockerd's parent group stays in every hierarchy.
  find /sys/fs/cgroup -depth -type d -path '*/docker*' -exec rmdir {} + 2>/dev/null || true
}

# dockerd leaves its bridges and chains when it ends; they are ours, because no other engine answers.
remove_network() {
  local link chain table
  for link in $(ip -o link show type bridge | awk -F': ' '{print $2}' | grep -E '^(docker0|br-[0-9a-f]{12})$' || true); do
    ip link delete "$link"
  done
  for table in filter nat; do
    iptables -t $table -S 2>/dev/null | sed -nE '/DOCKER|docker0|br-[0-9a-f]{12}/s/^-A/-D/p' |
      while read -r rule; do
        # shellcheck disable=SC2086 # a rule is several words
        iptables -t $table $rule 2>/dev/null || true
      done
    for chain in $(iptables -t $table -S 2>/dev/null | awk '/^-N DOCKER/ {print $2}'); do
      iptables -t $table -F "$chain"
    done
    for chain in $(iptables -t $table -S 2>/dev/null | awk '/^-N DOCKER/ {print $2}'); do
      iptables -t $table -X "$chain" 2>/dev/null || true
    done
  done
}

"$1"
