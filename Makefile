# `make run` and `make test` are all that a fresh machine needs: they build .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# `make studies` makes all of studies/*/results anew, STUDIES="hardware pruning" those; each of JOBS takes one core.
STUDIES ?=
JOBS ?= 2

# `make test TESTS=` runs the slow ones with the others.
TESTS ?= -m "not slow"
# Tests run on all cores, at most 8 processes: each takes seconds and 300 MB to import torch.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.PHONY: run test test-fast test-slow fuzz mutations lint docs bench studies clean
.DEFAULT_GOAL := run

$(VENV)/.installed: pyproject.toml hwmodels/pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "explorer needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable ./hwmodels --editable '.[dev]'
	-$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib # a minute of one core, which pip leaves the others idle for
	touch $@

run: $(VENV)/.installed
	$(BIN)/explorer run

test: $(VENV)/.installed
	$(PYTEST) $(TESTS)

test-slow: $(VENV)/.installed
	$(PYTEST) -m slow

test-fast: $(VENV)/.installed
	$(BIN)/python -m pytest -m "not slow and not thorough"

fuzz: $(VENV)/.installed
	$(BIN)/python -W ignore -m tests.fuzz

mutations: $(VENV)/.installed
	$(BIN)/python -m tests.mutations --jobs $(JOBS)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: $(VENV)/.installed
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; done

studies: $(VENV)/.installed
	$(BIN)/python -m studies.run --jobs $(JOBS) $(STUDIES)
	$(BIN)/python -m studies.tables

clean:
	rm -rf $(VENV) build site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
