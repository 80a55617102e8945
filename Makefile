# A bare `make` lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV := $(shell command -v uv 2>/dev/null)

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

setup: $(STAMP)  ## Make .venv from the lock (instant when it is up to date)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Ownpost needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
ifneq ($(UV),)
	@[ -x $(BIN)/python ] || uv venv --quiet --python $(PYTHON) $(VENV)
	uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@

up: setup  ## Start everything on this machine, with a demo account (PORT=8001 for another port)
	@$(BIN)/ownpost up --demo$(if $(PORT), --port $(PORT))

test: setup  ## Run the whole test suite, the linters and the type check
	@$(BIN)/python -m tests.run

lint: setup  ## Run ruff and mypy only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: setup  ## Kill, stop and freeze workers while they send, again and again (SEEDS=20)
	@rm -f var/faults.jsonl; mkdir -p var; \
	export OWNPOST_FAULT_SEEDS=$(or $(SEEDS),20) OWNPOST_FAULT_RESULTS=$(CURDIR)/var/faults.jsonl; status=0; \
	$(BIN)/python -m pytest tests/faults -q -n 2 --ignore=tests/faults/test_fairness.py || status=1; \
	$(BIN)/python -m pytest tests/faults/test_fairness.py -q || status=1; \
	$(BIN)/python -m tests.faults.results var/faults.jsonl docs/reliability.md "make faults SEEDS=$(or $(SEEDS),20)"; exit $$status

bench: setup  ## Make docs/performance.md again (SIZE=small to try it, MEASURE="whole far" for a part)
	@$(BIN)/python -m benchmarks $(if $(SIZE),--size $(SIZE)) $(MEASURE)

lock:  ## Pin the dependencies of pyproject.toml again (needs uv)
	uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 -o requirements.lock
	uv pip compile pyproject.toml --quiet --extra dev -c requirements.lock --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 -o requirements-dev.lock

clean:  ## Remove .venv, caches, what `make bench` fetched and the data of `make up`
	rm -rf $(VENV) .bench .pytest_cache .mypy_cache .ruff_cache var

.PHONY: help setup up test lint faults bench lock clean
