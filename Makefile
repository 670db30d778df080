# Two commands matter: `make run` and `make test`. Both work on a machine that has Python 3.11 and nothing else.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help run test lint check faults lock clean

help:  ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

.venv/.installed: requirements.lock requirements-installer.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Kontor needs Python 3.11, 3.12 or 3.13 on PATH and found none: install one, or say where it is with make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the locked dependencies into .venv (once)"
	@# uv installs the lock in seconds where pip takes minutes; pip stays the way when uv cannot (its own proxy or index settings).
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-installer.lock \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
	  || { echo "The dependencies could not be installed: the first run needs the package index that pip on this machine uses (see: pip config list). Run the same command again when it can be reached."; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

run: .venv/.installed  ## start everything on this machine, print the URLs; Ctrl-C stops it all
	@exec $(BIN)/kontor up

test: .venv/.installed  ## every check and test, on real servers it starts itself
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest

lint: .venv/.installed  ## style, types, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: .venv/.installed  ## lint and the tests that need no server: seconds
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest -m "not servers and not acceptance"

N ?= 30
faults: .venv/.installed  ## every fault N times (30) on a stack of its own, and a table; takes hours
	@$(BIN)/python -m tests.faults --trials $(N)

lock: .venv/.installed  ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 --quiet --no-header --output-file requirements.lock

clean:  ## remove the environment and the caches; data stays (see kontor reset)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
