# Needs Python >= 3.11, make and git; a network for the first set-up only. `make` alone lists the targets.

PYTHON ?= python3
UV ?= uv
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
STAMP := $(VENV)/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export OPENBLAS_NUM_THREADS := 1
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup demo test integration lint types imports check bench dashboards lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*##\(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP)  ## create .venv from requirements.lock, once

# The build tools come first, so that whatever is built is built by what the lock names.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'setup: tidegauge needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	@echo 'setup: creating $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@echo 'setup: installing requirements.lock (about 100 packages, 1.3 GB; some minutes the first time)'
	@awk '/^[a-z]/ { tool = /^(packaging|pip|setuptools|wheel)==/ } tool' requirements.lock > $(VENV)/tools.lock
	@$(PIP) install --quiet --require-hashes --requirement $(VENV)/tools.lock
	@$(PIP) install --quiet --require-hashes --no-build-isolation --requirement requirements.lock
	@echo 'setup: installing tidegauge itself, editable'
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || { \
	    echo 'setup: LightGBM needs OpenMP: apt-get install libgomp1 (Debian), brew install libomp (macOS)' >&2; exit 1; }
	@touch $@
	@echo 'setup: done'

demo: setup  ## run the demo on real data
	@$(BIN)/tidegauge demo

test: setup  ## run every test that needs no server
	$(BIN)/python -m pytest -m 'not integration' -n auto --maxprocesses 4

integration: setup  ## run the tests that need real servers or a browser
	@scripts/install-integration-services
	$(BIN)/python -m pytest -m integration

lint: setup  ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup  ## mypy, strict
	$(BIN)/mypy

imports: setup  ## import-linter: imports go one way
	$(BIN)/lint-imports --no-logo --no-cache

check:  ## all that .ci/run runs, tests last
	@$(MAKE) lint
	@$(MAKE) types
	@$(MAKE) imports
	@$(MAKE) integration
	@$(MAKE) test

bench: setup  ## print the benchmark ratios
	$(BIN)/python -m benchmarks

dashboards: setup  ## regenerate deploy/grafana and deploy/kubernetes
	$(BIN)/python deploy/grafana/build.py
	$(BIN)/python deploy/kubernetes/build.py

lock:  ## resolve requirements.lock anew (needs uv)
	@command -v $(UV) >/dev/null || { echo 'lock: needs uv; name one: make lock UV=/path/to/uv' >&2; exit 1; }
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade \
	    --extra demo --extra flow --extra garch --extra kafka --extra neural --group dev pyproject.toml --output-file requirements.lock

clean:  ## remove build outputs and caches; .venv stays
	rm -rf build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
