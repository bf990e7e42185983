#!/usr/bin/env bash
# base-images.sh NAME…: makes sure that Dockerfiles' base images are there: pulled where that is possible, else
# stand-ins of the same name, made from Debian packages and from the Python 3.6 of this machine's pyenv.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"
here=$repository/tests/kind

main() {
  local name
  for name in "$@"; do
    docker image inspect "$name" >/dev/null 2>&1 && continue
    if timeout 300 docker pull -q "$name" >/dev/null 2>&1; then continue; fi
    say "$name cannot be pulled: building a stand-in"
    case $name in
    debian:bookworm-slim) debian "$name" ;;
    python:3.6-*) python36 "$name" ;;
    *) fail "$name cannot be pulled and has no stand-in" ;;
    esac
  done
}

# A Debian root filesystem with this machine's ways to its package registries: certificates and client settings.
debian() {
  "$here/require.sh" node_image
  local root
  root=$(mktemp -d "$build/debian.XXXX")
  debootstrap "$root"
  import "$root" "$1"
  rm -rf "$root"
}

debootstrap() {
  # shellcheck disable=SC2046 # no mirror means mmdebstrap's own
  mmdebstrap --quiet --variant=minbase --include=ca-certificates bookworm "$1" $(debian_mirror)
  # As in the official image: packages that were installed are not kept.
  echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };' >"$1/etc/apt/apt.conf.d/docker-clean"
  rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/usr/share/doc/* "$1"/usr/share/locale/* "$1"/usr/share/man/*
  local file
  for file in /etc/pip.conf /etc/npmrc "$HOME/.npmrc" /etc/ssl/certs/ca-certificates.crt /etc/apt/apt.conf.d/99*; do
    if [ -f "$file" ]; then install -D -m 644 "$file" "$1$file"; fi
  done
}

import() {
  local changes=(--change 'CMD ["bash"]') name
  # Programs in the image must trust what this machine trusts.
  for name in SSL_CERT_FILE NODE_EXTRA_CA_CERTS PIP_CERT REQUESTS_CA_BUNDLE; do
    if [ -n "${!name:-}" ]; then changes+=(--change "ENV $name=/etc/ssl/certs/ca-certificates.crt"); fi
  done
  tar -C "$1" --numeric-owner -cf - . | docker import "${changes[@]}" - "$2" >/dev/null
}

# The official image has CPython with a shared libpython at /usr/local; pyenv's is built the same way.
python36() {
  local prefix
  prefix=$(find "$(pyenv root 2>/dev/null || echo "$HOME/.pyenv")/versions" -maxdepth 1 -name '3.6.*' 2>/dev/null | tail -1)
  [ -n "$prefix" ] || fail "$1 cannot be pulled and pyenv has no Python 3.6: run 'pyenv install 3.6.15'"
  main debian:bookworm-slim
  local context
  context=$(mktemp -d "$build/python36.XXXX")
  mkdir "$context/usr"
  cp -a "$prefix" "$context/usr/local"
  rm -rf "$context"/usr/local/lib/python3.6/test
  find "$context" -name '__pycache__' -prune -exec rm -rf {} +
  # Scripts of pip and its kind name the interpreter's old place.
  grep -rlI "^#!$prefix" "$context/usr/local/bin" | xargs -r sed -i "1s|^#!$prefix|#!/usr/local|"
  cat >"$context/Dockerfile" <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libssl3 libffi8 libbz2-1.0 libreadline8 libsqlite3-0 liblzma5 zlib1g \
      libncursesw6 libgdbm6 libexpat1 libuuid1 \
 && rm -rf /var/lib/apt/lists/*
COPY usr/local /usr/local
RUN ldconfig && python3.6 -c 'import ssl, ctypes, bz2, lzma, sqlite3' \
 && ln -sf python3.6 /usr/local/bin/python && ln -sf python3.6 /usr/local/bin/python3
CMD ["python3"]
DOCKERFILE
  DOCKER_BUILDKIT=0 docker build -q --network host -t "$1" "$context" >/dev/null
  rm -rf "$context"
}

main "$@"
