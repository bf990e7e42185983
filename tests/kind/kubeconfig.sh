#!/usr/bin/env bash
# Prints the path of the test cluster's kubeconfig.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/env.sh"
echo "$KUBECONFIG"
