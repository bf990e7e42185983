#!/usr/bin/env bash
# require.sh GROUP…: makes sure that a group's tools are there. Installs Debian packages when root on Debian;
# elsewhere says in one sentence what is missing.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# program PROGRAM PACKAGE: the program on PATH (a function of that name is none), from the package if it can be installed.
program() {
  type -P "$1" >/dev/null && return
  missing+=("$1")
  packages+=("$2")
}

install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  can_install || fail "missing: ${missing[*]}; install them (Debian packages: ${packages[*]}) and run this again"
  say "installing ${packages[*]}"
  apt-get update -qq
  # policy-rc.d: a package must not start its service (docker.io would start an engine that is not ours to stop).
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT # an interrupted one would keep services off for ever
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

python() {
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "missing: Python 3.11 or newer as python3"
  # Debian splits venv off; a Python of one's own has it.
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=(python3-venv)
    packages+=(python3-venv)
  fi
}

lint() {
  program shellcheck shellcheck
  go_toolchain
}

unit() {
  program busybox busybox-static
  program zsh zsh
  program fish fish
  c_compiler
}

# With the C library's headers, which Debian's gcc only recommends.
c_compiler() {
  echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 && return
  missing+=(gcc)
  packages+=(gcc libc6-dev)
}

go_toolchain() { command -v go >/dev/null || fail "missing: Go 1.26 or newer (go.dev/dl)"; }

cluster() {
  program jq jq
  program curl curl
  program flock util-linux
  go_toolchain
}

engine() {
  program dockerd docker.io
  program iptables iptables
  program jq jq
}

npm() {
  program npm npm
  program openssl openssl
  program curl curl
}

node_image() { program mmdebstrap mmdebstrap; }

missing=()
packages=()
for group in "$@"; do "$group"; done
install_missing
