SHELL := /bin/bash
# The same names here, in CI and on a fresh machine. Every target sets up what it needs in .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What pip reads, and compiles where a C compiler is.
SOURCES := pyproject.toml constraints.txt hatch_build.py $(wildcard synth/compiled/*.[ch])
DEMO := patina-demo
# Tests run side by side: one thread each for what would otherwise take all cores, and wait for one another. Modules are
# compiled once, wherever PYTHONDONTWRITEBYTECODE is set too: pytest rewrites 260 files, and a few hundred tests start a process.
TEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

PHOTOS ?= photos

.PHONY: help demo data test check fast slow kills bench gpu readers foreign docs format clean
help:
	@echo "make demo    set up, build a dataset, train small models on it, restore a photograph  (five minutes after installing)"
	@echo "make data    the demo's first minute alone: a dataset from six photographs, and its gallery; wants no torch"
	@echo "make test    set up, then linters, types, import contracts, pages and all tests"
	@echo "make check   linters, types, import contracts and pages     make fast    the fast tests alone"
	@echo "make kills   what survives when worker, engine, server or terminal are killed, with real processes; part of make test"
	@echo "make bench   the benchmarks of benchmarks/                  make format  format the code"
	@echo "make gpu     what a GPU can tell, in ten minutes, without a download: networks, captions, loader, learning, tests"
	@echo "make docs    the pages of docs/, in site/"
	@echo "make readers every reader of the field on one dataset, each in an environment of its own (6 GB, half an hour)"
	@echo "make foreign what networks that others trained make of 40 of your photographs: PHOTOS=folder; wants npm"

# What builds a dataset is light; tests and training need torch and its friends as well. A stamp says what is installed.
$(BIN)/python:
	@echo "setup: a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Python 3.11 or newer is needed, found {v.major}.{v.minor}; set PYTHON=")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(SOURCES)
	@echo "setup: patina and what builds a dataset"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/.train: $(BIN)/python $(SOURCES)
	@echo "setup: patina and what trains on a dataset (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,train]'
	@touch $@ $(VENV)/.demo

$(VENV)/.dev: $(BIN)/python $(SOURCES)
	@echo "setup: patina, training libraries and tools (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.demo $(VENV)/.train

# Readers that want other versions of a package than the others see that environment, and have their own before it.
$(VENV)/.readers: $(VENV)/.dev benchmarks/readers/environments.py
	@echo "setup: readers that want versions of their own (a minute the first time)"
	@$(BIN)/python -m benchmarks.readers.environments $(VENV)/readers
	@touch $@

demo: $(VENV)/.train
	@$(BIN)/patina demo --out $(DEMO)

data: $(VENV)/.demo
	@$(BIN)/patina demo --out $(DEMO) --no-train

test: check fast slow

check: $(VENV)/.dev
	@echo "check: ruff, formatting, mypy --strict, import contracts"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy
	@set -o pipefail; $(BIN)/lint-imports --no-cache | tail -n 8
	@$(MAKE) --no-print-directory docs

docs: $(VENV)/.dev
	@echo "docs: the pages of docs/ in site/"
	@$(BIN)/python docs/make_reference.py --check
	@$(BIN)/python docs/make_notebooks.py --check
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

fast: $(VENV)/.dev
	@echo "test: the fast ones"
	@$(TEST) -n auto --dist loadfile -m "not slow and not gpu and not network"

# Files that mark a test as slow. Each of the three processes collects its files by itself, and all files would take 25
# seconds. The files directly in tests/ come first, since they take longest.
SLOW := $(shell grep -l 'mark\.slow' tests/test_*.py) $(sort $(shell grep -rl --include='test_*.py' 'mark\.slow' tests/*/))

# Three at a time even on two cores: a third of the time these wait, for servers, heartbeats and what was killed.
slow: $(VENV)/.readers
	@echo "test: the slow ones"
	@$(TEST) -n 3 --dist worksteal -m "slow and not kills and not gpu and not network" $(SLOW)
	@$(MAKE) --no-print-directory kills

kills: $(VENV)/.dev
	@echo "test: what is killed, one piece of work after the other"
	@$(TEST) tests/flows/test_kills.py

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.tuples
	@$(BIN)/python -m benchmarks.synth_speed

gpu: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.gpu --save

readers: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.readers --save

foreign: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.foreign $(PHOTOS)

format: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-readers $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
