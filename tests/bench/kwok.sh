#!/usr/bin/env bash
# Makes sure that KWOK is there: it plays the bench's nodes and their pods.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/../kind/env.sh"
KWOK=v0.8.0

stamped kwok $KWOK && [ -x "$BATCHAI_CACHE/bin/kwok" ] && exit
"$repository/tests/kind/require.sh" cluster
say "installing KWOK $KWOK"
GOBIN=$BATCHAI_CACHE/bin go install "sigs.k8s.io/kwok/cmd/kwok@$KWOK"
stamp kwok $KWOK
