# Every target does its own set-up: prerequisites, virtual environment, the servers' programs.
# An interrupted run is repeated by the same command. PYTHON names the Python to build with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.bidplane-$(shell cat requirements.txt pyproject.toml | sha256sum | cut -c1-16)
EMBEDDED := streams/bidplane_streams/embedded
SEED ?= 1

.PHONY: help setup prerequisites assets demo test check simulate clean

help:
	@echo "make setup      prerequisites, virtual environment, the servers' programs"
	@echo "make demo       the whole chain on this machine with real servers, then a summary"
	@echo "make test       the whole test suite, real servers included"
	@echo "make check      the fast gate: style, types, imports, docstrings, tidy and unit tests"
	@echo "make simulate   the market in simulated time: SEED=..."
	@echo "make clean      remove what was built here (the cache outside the clone stays)"

setup: $(STAMP) assets

prerequisites:
	@$(PYTHON) $(EMBEDDED)/prerequisites.py

# The stamp comes last, so an interrupted installation is done again.
$(STAMP): | prerequisites
	@echo "bidplane: installing the hash-pinned requirements into $(VENV)" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.bidplane-*
	@touch $@

assets: $(STAMP)
	@$(BIN)/python -m bidplane_streams.embedded.assets

demo: setup
	@$(BIN)/bidplane demo $(if $(TRACE),--trace $(TRACE))

test: setup
	@$(BIN)/python -m pytest tests

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/tidy tests/unit

simulate: $(STAMP)
	@BIDPLANE_SEED=$(SEED) $(BIN)/python -m pytest tests/simulation

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
