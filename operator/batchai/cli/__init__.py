"""`kubectl batchai`: the arguments and the output of `az batchai` over a Kubernetes cluster (docs/cli.md)."""
