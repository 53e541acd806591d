# Everything runs from .venv, which `make` keeps in step with pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test faults bench docs site lint check format clean
.DEFAULT_GOAL := help

help:  ## show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

demo: .venv/installed  ## publish a real directory, fetch it back, compare
	@$(BIN)/gobbler demo

test: .venv/installed  ## run all tests, one file on each processor at a time
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile $(ARGS)

faults: .venv/installed  ## kill and fail the service at every system call (ARGS="--step 5 ...")
	$(BIN)/python -m tests.syscalls $(ARGS)

bench: .venv/installed  ## time it against yardsticks (ARGS="--scale 0.1 --case upload ...")
	$(BIN)/python -m bench $(ARGS)

docs: .venv/installed  ## make docs/reference from the code
	$(BIN)/python -m docs.generate

site: .venv/installed  ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "open site/index.html"

lint: .venv/installed  ## formatting, linting and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test  ## lint and test

format: .venv/installed  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what `make` has made
	rm -rf .venv build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
