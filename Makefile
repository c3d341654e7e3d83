# Every verb a person or CI needs. `make help` lists them. Needs Python 3.11 or newer and a network for the first run.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
UV := .vantage/uv/bin/uv
SYNCED := .venv/.synced
WORKERS ?= auto
CODE := libs services deploy tools tests conftest.py

# Tests of one service or library, and what looks at the house as a whole. No running system.
FAST := libs services deploy tools docs/examples tests/architecture tests/contract
# The second engine's suite: a server of its own, a minute. Too slow for the gate.
SLOW := services/workflows/tests/engine/test_temporal.py services/workflows/tests/engine/test_moving.py
# What needs the running system; the fixtures start it.
STACK := tests/integration tests/e2e

# Whatever the shell says: without bytecode each of the many processes of a run compiles all it imports again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help check static format lint types walls lints generated fast stack test fmt generate lock clean venv

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# --- the environment ------------------------------------------------------------------------------------------

$(UV): requirements/uv.txt
	@echo "Preparing the installer …"
	@tools/bootstrap.sh "$(PYTHON)" .vantage/uv
	@.vantage/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(SYNCED): requirements/dev.txt pyproject.toml $(UV)
	@echo "Installing the packages of requirements/dev.txt into .venv (once per lock) …"
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

venv: $(SYNCED) ## make or renew .venv from the hashed lock

# --- the gate ---------------------------------------------------------------------------------------------------

check: $(SYNCED) ## the gate: format, lint, types, walls, own lints, generated files, fast tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target static
	@$(MAKE) --no-print-directory fast

static: format lint types walls lints generated

format: $(SYNCED)
	@$(BIN)/ruff format --check --output-format=concise --quiet . || { echo "format: run make fmt"; exit 1; }

lint: $(SYNCED)
	@$(BIN)/ruff check --quiet .

types: $(SYNCED)
	@$(BIN)/mypy --no-error-summary

walls: $(SYNCED)
	@$(BIN)/lint-imports --no-logo > .vantage/walls.log || { cat .vantage/walls.log; exit 1; }

lints: $(SYNCED)
	@$(BIN)/python -m tools.lints

generated: $(SYNCED)
	@$(BIN)/python -m tools.generate --check
	@$(BIN)/python -m tools.compatibility

fast: $(SYNCED) ## unit, architecture and contract tests
	@$(BIN)/python -m pytest -p no:schemathesis --numprocesses=$(WORKERS) --dist=worksteal $(addprefix --ignore=,$(SLOW)) $(FAST)

stack: $(SYNCED) ## the second engine's suite; integration and end-to-end tests on the running system
	@$(BIN)/python -m pytest $(SLOW)
	@$(BIN)/python -m pytest $(STACK)

test: $(SYNCED) ## everything: the gate, then the tests on the running system
	@mkdir -p .vantage
	@$(BIN)/python -m deploy.native temporal > .vantage/temporal.log 2>&1 & $(MAKE) --no-print-directory check && $(MAKE) --no-print-directory stack

fmt: $(SYNCED) ## format, and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

generate: $(SYNCED) ## write what is generated: schemas, AsyncAPI, docs/events.md, environment examples
	@$(BIN)/python -m tools.generate

lock: $(UV) ## compile requirements/*.txt from *.in, with hashes
	@for name in uv service native dev; do \
	  $(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header requirements/$$name.in -o requirements/$$name.txt || exit 1; \
	done

clean: ## remove the environment and caches; the system's state stays
	rm -rf .venv .vantage/uv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info build

# --- the running system: up, down, status, logs, demo, bench ----------------------------------------------------

-include deploy/native/targets.mk
