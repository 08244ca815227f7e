# Countersign. `make help` lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo run test faults soak lint format bench accuracy clean lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Countersign needs Python 3.11 or later; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing from requirements.lock (torch is large: a few minutes the first time) ..."
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

setup: $(STAMP) ## make the environment in .venv, nothing else

demo: $(STAMP) ## generate signatures, train, verify a batch, print the figures, stop
	$(BIN)/countersign demo --home var/demo

run: $(STAMP) ## run the whole stack on 127.0.0.1:5000 until Ctrl-C
	$(BIN)/countersign up --home var

test: $(STAMP) ## run all tests
	$(BIN)/python -m pytest

faults: $(STAMP) ## kill, fill, stop and confuse everything: a quarter of an hour; `make test` runs a part of it
	$(BIN)/python -m pytest tests/faults -m "long or not long"

soak: $(STAMP) ## mixed jobs and a random kill every 20 s; MINUTES=30
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),30)

lint: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## measure speed; writes benchmarks/SPEED.md
	$(BIN)/python -m benchmarks

accuracy: $(STAMP) ## error rates on real signatures: CEDAR=DIR ICDAR=DIR; FRESH=1 begins anew
	$(BIN)/python -m benchmarks.accuracy $(if $(CEDAR),--cedar "$(CEDAR)") $(if $(ICDAR),--icdar "$(ICDAR)") $(if $(FRESH),--fresh)

clean: ## remove what the targets made, but not var/ (your data)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache benchmarks/out var/demo
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

lock: ## resolve pyproject.toml again into the lock files (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --extra embedded --extra build --extra dev --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --extra web --extra build --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements.lock pyproject.toml -o requirements-web.lock
	uv pip compile --quiet --universal --python-version 3.11 --extra worker --extra build --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements.lock pyproject.toml -o requirements-worker.lock
