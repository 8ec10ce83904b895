# crosslot: `make demo` and `make test` need only Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
STAMP := $(VENV)/.built
RAY := $(VENV)/ray
JOBS ?= 2
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

export FLWR_TELEMETRY_ENABLED = 0
export FLWR_DISABLE_UPDATE_CHECK = 1

.PHONY: help setup demo demo-network test test-ray nightly lint bench bench-mapping bench-network lock clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## Make .venv from the hashed lock.

$(INSTALLED): requirements.lock requirements-compiler.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'crosslot needs Python >= 3.11; name one with: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo 'Setting up .venv (once; one to three minutes) ...' >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@{ test -n "$$CC" || command -v cc || command -v gcc || command -v clang; } >/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-compiler.lock
	@touch $(INSTALLED)

$(STAMP): $(INSTALLED) pyproject.toml setup.py $(wildcard shared/native/*.[ch])
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

test-ray: $(STAMP)  ## A run on Ray equals one in one process; Ray goes into an environment of its own (70 MB).
	@[ -x $(RAY)/bin/python ] || $(BIN)/python -m venv $(RAY)
	@$(RAY)/bin/python -c "import pathlib, sysconfig; folder = sysconfig.get_path('purelib'); pathlib.Path(folder, 'setup.pth').write_text('import site; site.addsitedir(' + repr(folder.replace('$(RAY)', '$(VENV)')) + ')')"
	@$(RAY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-ray.lock
	$(RAY)/bin/python -m pytest tests/simulations/test_flower_engine.py

nightly: $(STAMP)  ## The disclosure tests at full length: half an hour of processor for the sequences, and the fuzz.
	@seed=$${CROSSLOT_SEED:-$$(date +%s)}; echo "CROSSLOT_SEED=$$seed" >&2; \
	CROSSLOT_SEED=$$seed CROSSLOT_SEQUENCES=50000 CROSSLOT_FUZZ=100000 \
	$(BIN)/python -m pytest -v -n $(JOBS) --dist worksteal tests/disclosure

lint: $(STAMP)  ## Format check, ruff, mypy, import contracts, a fresh lock.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(STAMP)  ## Speed and error rates, side by side in one run.
	$(BIN)/python -m benchmarks.association
	$(BIN)/python -m benchmarks.error_rates
	$(BIN)/python -m benchmarks.attributes
	$(BIN)/python -m benchmarks.markers
	$(BIN)/python -m benchmarks.comparability
	$(BIN)/python -m benchmarks.specification

bench-mapping: $(STAMP)  ## Accuracy, novelty, membership and speed of the mapper, beside others.
	$(BIN)/python -m benchmarks.mapping_accuracy --symphonypy
	$(BIN)/python -m benchmarks.mapping_novelty
	$(BIN)/python -m benchmarks.atlas_membership
	$(BIN)/python -m benchmarks.mapping_speed --others

bench-network: $(STAMP)  ## How a study grows with its sites: to 1,000 in one process, to 200 over one gateway.
	$(BIN)/python -m benchmarks.grid_scale
	$(BIN)/python -m benchmarks.network_scale

lock:  ## Resolve the dependencies again (needs uv); no index lines, so that any registry serves.
	$(LOCK) --extra site --extra coordinator --extra dev pyproject.toml --output-file requirements.lock
	@for role in coordinator site; do echo 'setuptools>=77' | $(LOCK) --extra $$role --constraint requirements.lock --no-annotate pyproject.toml - --output-file deploy/$$role.lock; done
	echo 'ziglang>=0.13' | $(LOCK) - --output-file requirements-compiler.lock
	echo 'ray==2.55.*' | $(LOCK) --constraint requirements.lock --no-annotate - --output-file requirements-ray.lock

clean:  ## Remove what was made here, the environment included.
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
