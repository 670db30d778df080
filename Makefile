# Two commands matter: `make run` and `make test`. Both work on a machine that has Python 3.11 and nothing else.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
# The tests start hundreds of processes: they keep what they compile, in the user's cache if it may not lie beside the sources.
ifdef PYTHONDONTWRITEBYTECODE
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kontor/bytecode
endif
.DEFAULT_GOAL := help
.PHONY: help run test lint check simulate races soak sales faults fuzz lock clean compose-secrets audit sbom images

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-16s %s\n", $$1, $$2}'

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

# Two processes share the files: much of the time one of them waits. Each has servers and ports of its own.
TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
test: .venv/.installed  ## every check and test, on real servers it starts itself
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest $(TWO)

lint: .venv/.installed  ## style, types, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: .venv/.installed  ## lint, the tests that need no server: seconds; and known vulnerabilities, where they can be asked
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory audit
	@SEEDS=300 $(BIN)/python -m pytest -m "not servers and not acceptance"

audit: .venv/.installed  ## known vulnerabilities of what is locked; says so where their list cannot be reached
	@$(BIN)/python .ci/audit

SBOM ?= sbom.json
sbom: .venv/.installed  ## what is in the lock, as a CycloneDX document, in SBOM (sbom.json)
	@$(BIN)/cyclonedx-py requirements --short-PURLs --output-reproducible --pyproject pyproject.toml --of JSON -o $(SBOM) requirements.lock
	@echo "$(SBOM)"

images:  ## the digests that the tags of docker-compose.yml and Dockerfile have now (needs Docker and its registry)
	@grep -hoE '(image: |FROM )[a-z/]+:[a-z0-9.-]+@sha256' docker-compose.yml Dockerfile | sed -E 's/^(image: |FROM )//; s/@sha256$$//' \
	  | while read -r image; do docker buildx imagetools inspect "$$image" --format "$$image@{{.Manifest.Digest}}"; done

SEEDS ?= 20000
simulate: .venv/.installed  ## seeded runs of the streams with every fault, SEEDS of them (20000); SEED=1 tells one
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

compose-secrets:  ## make the secrets that docker-compose.yml asks for, in .env; what is there stays
	@test -n "$(PYTHON)" || { echo "This needs Python 3.11, 3.12 or 3.13 on PATH: say where one is with make PYTHON=/path/to/python3.11 compose-secrets"; exit 1; }
	@$(PYTHON) -m cli.stack.environment_file

ORDERS ?= 5000
races: .venv/.installed  ## the races of the checkout, with ORDERS orders for one SKU (5000)
	@ORDERS=$(ORDERS) $(BIN)/python -m pytest tests/acceptance/test_checkout.py

CONNECTIONS ?= 1000
soak: .venv/.installed  ## CONNECTIONS subscriptions (1000) that are dropped without a word; nothing of them is left
	@CONNECTIONS=$(CONNECTIONS) $(BIN)/python -m pytest tests/api/test_sockets.py -k dropped

DAYS ?= 11
sales: .venv/.installed  ## import DAYS days (11, all) of the real file of sales; it arrives to the penny
	@DAYS=$(DAYS) $(BIN)/python -m pytest tests/acceptance/test_survival.py -k real_file

N ?= 30
FAULTS ?=
IN ?=
faults: .venv/.installed  ## every fault (or FAULTS=name,name) N times (30) on a system of its own, and a table; takes hours, and goes on IN=folder
	@$(BIN)/python -m tests.faults --trials $(N) --only "$(FAULTS)" $(if $(IN),--folder "$(IN)")

EXAMPLES ?= 200
FUZZ_S ?= 300
fuzz: .venv/.installed  ## documents made by chance, both ways of answering alike, FUZZ_S seconds (300) on the running stack; then requests of both published schemas, EXAMPLES for each operation (200)
	@$(BIN)/python -m tests.api.fuzz_compiled --seconds $(FUZZ_S)
	@EXAMPLES=$(EXAMPLES) FUZZ_S=3600 $(BIN)/python -m pytest tests/api/test_fuzz.py

lock: .venv/.installed  ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 --quiet --no-header --output-file requirements.lock

clean:  ## remove the environment and the caches; data stays (see kontor reset)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
