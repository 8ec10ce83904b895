# crosslot: `make demo` and `make test` need only Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

export NUMBA_CACHE_DIR ?= $(CURDIR)/$(VENV)/numba-cache
export FLWR_TELEMETRY_ENABLED = 0
export FLWR_DISABLE_UPDATE_CHECK = 1

.PHONY: help setup demo demo-network test nightly lint bench bench-mapping lock clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## Make .venv from the hashed lock.

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'crosslot needs Python >= 3.11; name one with: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Setting up .venv (once; one to three minutes) ...' >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP)  ## Simulate the model study end to end; writes out/demo/report.html.
	@$(BIN)/crosslot-simulate demo --out out/demo

demo-network: $(STAMP)  ## One coordinator and three sites as process trees on loopback; equals the run in one process.
	@rm -rf out/demo-network
	@$(BIN)/python -m simulations.network_demo --out out/demo-network

test: $(STAMP)  ## Lint, type-check and run all tests.
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

nightly: $(STAMP)  ## The disclosure tests at full length (an hour and more).
	CROSSLOT_SEQUENCES=50000 CROSSLOT_FUZZ=100000 $(BIN)/python -m pytest tests/disclosure

lint: $(STAMP)  ## Format check, ruff, mypy, import contracts, a fresh lock.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## Speed and error rates, side by side in one run.
	$(BIN)/python benchmarks/association.py
	$(BIN)/python benchmarks/error_rates.py

bench-mapping: $(STAMP)  ## Accuracy and speed of the mapper beside others.
	$(BIN)/python benchmarks/mapping_accuracy.py
	$(BIN)/python benchmarks/mapping_speed.py

lock:  ## Resolve the dependencies again (needs uv); no index lines, so that any registry serves.
	uv pip compile --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --no-header --quiet pyproject.toml --output-file requirements.lock

clean:  ## Remove what was made here, the environment included.
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
