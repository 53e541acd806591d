# Everything runs from .venv, which `make` keeps up to date with pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test faults bench docs site lint check format clean
.DEFAULT_GOAL := help

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	$(BIN)/python -m compileall -q src  # as an installation does; PYTHONDONTWRITEBYTECODE may be set
	@touch $@

demo: .venv/installed  ## publish a real directory, fetch it, compare
	@$(BIN)/gobbler demo

test: .venv/installed  ## run all tests, several files at a time
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

faults: .venv/installed  ## kill the service, and make calls fail, at every system call (ARGS="--step 5 ...")
	$(BIN)/python -m tests.syscalls $(ARGS)

bench: .venv/installed  ## time it against yardsticks, or PEER="COMMAND" (ARGS="--scale 0.1 ...")
	$(BIN)/python -m bench $(if $(PEER),--peer-command '$(PEER)') $(ARGS)

docs: .venv/installed  ## write docs/reference from the code
	$(BIN)/python -m docs.generate

site: .venv/installed  ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "open site/index.html"

lint: .venv/installed  ## check formatting, style and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test  ## lint and test

format: .venv/installed  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove everything that `make` has written
	rm -rf .venv build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
