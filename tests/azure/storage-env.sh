#!/usr/bin/env bash
# Prints shell exports for the storage account of the test cluster's stand-ins.
set -euo pipefail
# shellcheck source=tests/kind/env.sh
source "$(dirname "$0")/../kind/env.sh"

field() { kubectl get secret -n azure storage-account -o "jsonpath={.data.$1}" | base64 -d; }

account=$(field azurestorageaccountname)
key=$(field azurestorageaccountkey)
blob=http://127.0.0.1:31100/$account
files=http://127.0.0.1:31445
cat <<EXPORTS
export AZURE_BATCHAI_STORAGE_ACCOUNT=$account
export AZURE_BATCHAI_STORAGE_KEY=$key
export AZURE_STORAGE_CONNECTION_STRING='DefaultEndpointsProtocol=http;AccountName=$account;AccountKey=$key;BlobEndpoint=$blob;FileEndpoint=$files;'
EXPORTS
