# Every command of the project. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
SLITHER_VERSION := 0.11.6
ACCOUNTS ?= 100
SCENARIO ?= crash
SHARDS ?= 1
SEED ?= 1
CHAOS ?=

export PYTHONPATH := .:graphql
# The tests start hundreds of processes: each would compile all that it imports, where it may not keep it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: prerequisites
prerequisites: ## Check what must be on the machine; one line for each thing that is missing.
	@$(PYTHON) -m local.prerequisites

$(VENV)/.installed: requirements-dev.txt
	@echo "Installing Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements-dev.txt
	@touch $@

contracts/node_modules/.installed: contracts/package-lock.json contracts/package.json
	@echo "Installing npm packages into contracts/node_modules"
	@cd contracts && npm ci --silent --no-audit --no-fund
	@touch $@

.PHONY: contracts
contracts: contracts/node_modules/.installed ## Compile the contracts.
	@cd contracts && npm run --silent build

.PHONY: emulators
emulators: $(VENV)/.installed
	@$(BIN)/python -m local.bigquery_emulator install
	@$(BIN)/python -m local.emulators archive

.PHONY: setup
setup: prerequisites ## Install everything into this folder: Python, npm, contracts, emulators.
	@$(MAKE) -j2 contracts emulators

.PHONY: demo
demo: setup ## Start the platform and play a market crash; ACCOUNTS=100 SCENARIO=crash. Ctrl-C ends it.
	@$(BIN)/python -m local.demo --accounts $(ACCOUNTS) --scenario $(SCENARIO) --seed $(SEED)

.PHONY: smoke
smoke: setup ## Play the same story without a page, assert it, print the latencies; SHARDS=4 cuts the margin book.
	@$(BIN)/python -m local.smoke --accounts $(ACCOUNTS) --scenario $(SCENARIO) --seed $(SEED) --shards $(SHARDS)

.PHONY: test
test: prerequisites ## Everything that must hold before a change lands.
	@$(MAKE) -j2 --output-sync=target test-contracts emulators lint types collection
	@$(BIN)/python -m pytest -q --numprocesses 3 --dist loadfile --no-loadscope-reorder

# Compiles the tests once; the processes that then run them start at the same moment and would each do so.
.PHONY: collection
collection: $(VENV)/.installed
	@$(BIN)/python -m pytest -qq --collect-only | sed '/\.py: [0-9]*$$/d; /^$$/d'

.PHONY: test-contracts
test-contracts: contracts
	@cd contracts && npm test --silent

.PHONY: differential
differential: setup ## The vault against the risk core over 10,000 random accounts; every number must be equal.
	@$(BIN)/python -m tests.differential --accounts 10000 --seed $(SEED)

.venv-beam/.installed: pipelines/requirements.txt $(VENV)/.installed
	@$(PYTHON) -m venv --without-pip .venv-beam
	@$(BIN)/uv pip sync --quiet --python .venv-beam/bin/python pipelines/requirements.txt
	@touch $@

.PHONY: test-pipelines
test-pipelines: .venv-beam/.installed ## The Beam pipelines on the DirectRunner, in an environment of their own.
	@.venv-beam/bin/python -m pytest -q -p no:cacheprovider pipelines/tests

.venv-slither/.installed:
	@echo "Installing Slither into .venv-slither"
	@$(PYTHON) -m venv .venv-slither
	@.venv-slither/bin/python -m pip install --quiet --disable-pip-version-check slither-analyzer==$(SLITHER_VERSION)
	@touch $@

.PHONY: slither
slither: contracts .venv-slither/.installed ## Slither over the deployed contracts; every finding must be answered in contracts/SLITHER.md.
	@.venv-slither/bin/python contracts/check_slither.py

.PHONY: lint
lint: $(VENV)/.installed ## Style, import arrows.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

.PHONY: types
types: $(VENV)/.installed ## Type check, strict.
	@$(BIN)/mypy

.PHONY: chaos
chaos: setup ## A few minutes of kills, duplicates and failing nodes; nothing may be lost or happen twice.
	@$(BIN)/python -m tests.chaos --seed $(SEED)

.PHONY: chaos-prices
chaos-prices: setup ## Price ticks with half of all requests failing, and with every source down: the figures.
	@$(BIN)/python -m tests.chaos.prices --seed $(SEED)

.PHONY: chaos-chain
chaos-chain: setup ## Outages, lies, reorgs and crashes between chain and events; CHAOS=--full takes an hour.
	@$(BIN)/python -m tests.chaos.chain --seed $(SEED) $(CHAOS)

.PHONY: bench
bench: setup ## Every benchmark, as one table of ratios; results in benchmarks/results/.
	@$(BIN)/python -m benchmarks

.PHONY: backtest
backtest: $(VENV)/.installed ## Every VaR method on a file of daily closes, with plots; CLOSES=closes.csv.
	@$(BIN)/python -m benchmarks.risk.history_backtest $(CLOSES)
	@$(BIN)/python -m benchmarks.risk.plots $(CLOSES)

.PHONY: documents
documents: $(VENV)/.installed ## Write what is generated: docs/, graphql/schema.graphql.
	@$(BIN)/python -m docs.export
	@$(BIN)/python -m gateway.schema > graphql/schema.graphql

.PHONY: goldens
goldens: $(VENV)/.installed ## What published packages make of the golden examples, asked again; the page of golden values.
	@$(BIN)/python -m tests.golden.packages
	@$(BIN)/python -m tests.golden.catalogue

.PHONY: lock
lock: $(VENV)/.installed ## Resolve pyproject.toml into the locked requirements files.
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 \
		pyproject.toml --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 \
		--extra dev pyproject.toml --constraint requirements.txt --output-file requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 \
		--extra bench-peers pyproject.toml --constraint requirements.txt --output-file requirements-bench-peers.txt
	@$(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --python-version 3.11 \
		benchmarks/chain/web3-peer/requirements.in --output-file benchmarks/chain/web3-peer/requirements.txt

.PHONY: clean
clean: ## Remove whatever the other commands have made here.
	@rm -rf $(VENV) .venv-bigquery .venv-bench-peers .venv-bench-web3 .venv-beam .state contracts/node_modules contracts/out contracts/cache \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
