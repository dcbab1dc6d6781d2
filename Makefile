# Everything runs in .venv, from requirement files whose every line carries its hashes. A fresh machine needs
# Python 3.11 or newer (with venv) and make.   make PYTHON=python3.13 test   picks another Python.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := -m pip --disable-pip-version-check install --quiet
BENCH  := .venv-bench
UV     ?= $(BIN)/uv
# As many workers as there are processors; `make test PYTEST_FLAGS="-p no:xdist"` runs one test after the other.
PYTEST_FLAGS ?= -n auto --dist worksteal
SOURCES := pyproject.toml core/remit/_version.py

# pyright and its Node.js come with the wheels in requirements/dev.txt; this stops it from asking for a newer one.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo test check lint format mypy pyright verifytypes imports house bench versions lock clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    run the demonstration"
	@echo "make test    run the tests, most of them with branch coverage"
	@echo "make check   ruff, mypy, pyright, import-linter and the house rules (make -k check: all of them)"
	@echo "make bench   measure Remit and its peers"
	@echo "make versions  run the adapters' tests with the oldest and the newest frameworks"
	@echo "make lock    compile requirements/ anew (make lock LOCK_FLAGS=--upgrade: newest releases)"
	@echo "make clean   remove what the other targets made"

demo: $(VENV)/.demo
	@$(BIN)/remit demo

# In two parts, since measuring coverage takes as long again as the tests: what tries whole frameworks, pages and
# thousands of made-up cases is not measured. Both parts are run; 5 is the status of a part of which nothing was chosen.
PYTEST = $(BIN)/python -m pytest $(PYTEST_FLAGS)
UNMEASURED := conformance docs examples integrations property typing

test: $(VENV)/.dev
	@failed=0; \
	$(PYTEST) --cov --cov-report=term $(UNMEASURED:%=--ignore=tests/%) || [ $$? -eq 5 ] || failed=1; \
	$(PYTEST) $(UNMEASURED:%=tests/%) || [ $$? -eq 5 ] || failed=1; \
	exit $$failed

check: lint format mypy pyright verifytypes imports house

lint: $(VENV)/.dev
	$(BIN)/ruff check

format: $(VENV)/.dev
	$(BIN)/ruff format --check

mypy: $(VENV)/.dev
	$(BIN)/mypy

pyright: $(VENV)/.dev
	$(BIN)/pyright --warnings

verifytypes: $(VENV)/.dev # this mode of pyright asks the first Python on PATH where remit is
	PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes remit --ignoreexternal

imports: $(VENV)/.dev
	$(BIN)/lint-imports

house: $(VENV)/.dev
	$(BIN)/python tools/check_house.py

versions: $(VENV)/.dev
	$(BIN)/python tools/try_versions.py

bench: $(BENCH)/.bench
	$(BENCH)/bin/python tests/benchmarks/run.py

# ── environments; a stamp says that the last step went well ─────────────────────────────────────────────────
# $(1): the Python that makes it, $(2): its folder
define make_venv
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Remit needs Python 3.11 or newer; try: make PYTHON=python3.11")'
@echo "creating $(2)"; rm -rf $(2); $(1) -m venv $(2) || { rm -rf $(2); exit 1; }
endef

$(VENV)/.python:
	$(call make_venv,$(PYTHON),$(VENV))
	@touch $@

$(VENV)/.demo-packages: $(VENV)/.python requirements/build.txt requirements/demo.txt
	@echo "installing requirements/demo.txt"
	@$(BIN)/python $(PIP) --require-hashes --no-deps -r requirements/build.txt -r requirements/demo.txt
	@touch $@

$(VENV)/.dev-packages: $(VENV)/.python requirements/dev.txt
	@echo "installing requirements/dev.txt"
	@$(BIN)/python $(PIP) --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

$(VENV)/.demo: $(VENV)/.demo-packages $(SOURCES)
	@$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.dev-packages $(SOURCES)
	@$(BIN)/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(BENCH)/.bench: requirements/build.txt requirements/bench.txt $(SOURCES)
	$(call make_venv,$(PYTHON),$(BENCH))
	@$(BENCH)/bin/python $(PIP) --require-hashes --no-deps -r requirements/build.txt -r requirements/bench.txt
	@$(BENCH)/bin/python $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# ── locks: dev.txt first, the others hold the same versions ─────────────────────────────────────────────────
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock" $(LOCK_FLAGS)

lock: $(if $(filter $(BIN)/uv,$(UV)),$(VENV)/.dev-packages)
	$(COMPILE) pyproject.toml --extra all --group dev --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --extra demo --constraints requirements/dev.txt --output-file requirements/demo.txt
	$(COMPILE) pyproject.toml --extra service --extra redis --extra postgres --constraints requirements/dev.txt --output-file requirements/service.txt
	$(COMPILE) --group build --constraints requirements/dev.txt --output-file requirements/build.txt
	$(COMPILE) pyproject.toml --group bench --extra autogen --extra crewai --extra langchain --extra postgres --extra redis --constraints requirements/dev.txt --output-file requirements/bench.txt

clean:
	rm -rf $(VENV) $(BENCH) build dist .coverage .coverage.* htmlcov
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find core integrations examples tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
