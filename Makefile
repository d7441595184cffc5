# Two commands are enough on a bare machine: `make run` and `make test`. Each sets up what it needs.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check bench docs format peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## start the agent and the example daemons (PORT=8000)
	@$(BIN)/python -m examples --port $(PORT)

test: $(VENV)/.tested peers ## run all tests, with the real programs where they are installed
	$(BIN)/python -m pytest -n auto $(PYTEST_ARGS)

check: $(VENV)/.tested ## ruff, mypy, import-linter, type completeness, reference page
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --package examples
	$(BIN)/lint-imports
	$(BIN)/python docs/generate_reference.py --check
	PATH=$(CURDIR)/$(BIN):$$PATH basedpyright --verifytypes bridle --ignoreexternal

bench: $(VENV)/.tested peers ## ours and the real programs side by side
	$(BIN)/python -m bench $(BENCH_ARGS)

docs: $(VENV)/.installed ## write docs/reference.md from the code
	$(BIN)/python docs/generate_reference.py

format: $(VENV)/.tested ## put the code in form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

peers: ## install the real programs (as root; otherwise their tests are skipped)
	@scripts/install-peers

$(VENV)/.installed: pyproject.toml scripts/make-venv
	@scripts/make-venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --group test --group check
	@touch $@

clean: ## remove what the other targets made
	rm -rf $(VENV) .venvs bench/build .mypy_cache .ruff_cache .hypothesis
