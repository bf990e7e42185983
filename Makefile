# Every target is idempotent and installs what it needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
T ?=
B ?=

.PHONY: help
help: ## Lists the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: quickstart
quickstart: deploy ## Trains CNTK on MNIST on a real cluster, from job.json to downloaded model
	quickstart/run.sh

.PHONY: test
test: lint unit e2e ## Everything that CI runs

.PHONY: venv
venv: $(VENV)/.stamp ## The Python environment, from the lock file
$(VENV)/.stamp: requirements-dev.lock pyproject.toml
	tests/kind/require.sh python
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

.PHONY: lint
lint: venv ## ruff, mypy, import-linter, shellcheck, go vet, drift of generated files
	tests/kind/require.sh lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	git ls-files -z '*.sh' launcher/launch launcher/install launcher/mount launcher/peers launcher/session launcher/shell launcher/bashrc 'launcher/bin/*' 'file-server/serve-*' | xargs -0 shellcheck -x
	cd tests/kind/pause && go vet ./...
	cd tests/kind/localkube && go vet -trimpath ./... # the same flags as its build, so that the cache serves both
	$(BIN)/python -m batchai.api.generate --check
	$(BIN)/python -m batchai.cli.reference --check

.PHONY: generate
generate: venv ## Rewrites crds/ and the generated tables in docs/
	$(BIN)/python -m batchai.api.generate --write
	$(BIN)/python -m batchai.cli.reference --write

.PHONY: unit
unit: venv ## Unit and property tests
	tests/kind/require.sh unit
	$(BIN)/pytest

.PHONY: e2e
e2e: deploy ## End-to-end tests on the kind cluster; T=name runs one
	tests/kind/images.sh ash bare mpi nfs torch tensorflow
	source tests/kind/env.sh && $(BIN)/pytest tests/e2e --timeout 300 -m "not toolkits and not crashes and not kwok and not mixes" $(if $(T),-k "$(T)")

.PHONY: e2e-toolkits
e2e-toolkits: deploy ## Those with toolkits whose images are big or slow to build; T=name runs one
	tests/kind/images.sh caffe2 horovod
	source tests/kind/env.sh && $(BIN)/pytest tests/e2e --timeout 300 -m toolkits $(if $(T),-k "$(T)")

.PHONY: e2e-crashes
e2e-crashes: deploy ## The operator killed at each of its writes in turn
	source tests/kind/env.sh && $(BIN)/pytest tests/e2e -m crashes

.PHONY: e2e-mixes
e2e-mixes: deploy ## Fifty mixes of gangs and single nodes on the cluster's three nodes
	source tests/kind/env.sh && $(BIN)/pytest tests/e2e -m mixes

.PHONY: e2e-kwok
e2e-kwok: deploy ## Those with nodes that come and go, which KWOK plays
	tests/bench/kwok.sh
	source tests/kind/env.sh && $(BIN)/pytest tests/e2e --timeout 300 -m kwok

.PHONY: bench
bench: deploy $(VENV)/.stamp-bench ## Measures the operator on KWOK nodes (docs/performance.md); B=row measures one row
	tests/bench/kwok.sh
	source tests/kind/env.sh && PYTHONPATH=. $(BIN)/python -m tests.bench $(B)

$(VENV)/.stamp-bench: requirements-bench.lock | venv
	$(BIN)/pip install --quiet --require-hashes -r requirements-bench.lock
	touch $@

.PHONY: cluster
cluster: venv ## The kind cluster with the Azure stand-ins
	tests/kind/up.sh
	tests/azure/deploy.sh

.PHONY: cluster-down
cluster-down: ## Removes the cluster and everything else that `make cluster` started
	tests/kind/down.sh

.PHONY: kubeconfig
kubeconfig: ## Prints the path of the cluster's kubeconfig
	@tests/kind/kubeconfig.sh

.PHONY: images
images: ## Builds the images whose inputs changed and loads them into the cluster
	tests/kind/images.sh

.PHONY: deploy
deploy: cluster images ## Installs the operator into the cluster
	manifests/deploy.sh

.PHONY: storage-env
storage-env: ## Prints shell exports for the storage account of the cluster
	@tests/azure/storage-env.sh

.PHONY: requirements
requirements: venv ## Locks the dependencies again
	$(BIN)/uv pip compile -q --no-emit-index-url --no-header --generate-hashes --extra agent --extra dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --no-emit-index-url --no-header --generate-hashes --extra agent pyproject.toml -o requirements.lock -c requirements-dev.lock
	$(BIN)/uv pip compile -q --no-emit-index-url --no-header --generate-hashes --extra bench pyproject.toml -o requirements-bench.lock -c requirements-dev.lock
