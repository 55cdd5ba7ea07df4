# Everything starts here: `make setup`, `make demo`, `make test`. `make help` tells the rest.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do command -v $$p && break; done)
PY := .venv/bin/python

# Every test starts Python anew, some a dozen times: it must keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE

# A make that this one starts must not find .venv's Python and build .venv upon itself.
export PYTHON

export SOLCX_BINARY_PATH := $(CURDIR)/build/solc
export PATH := $(CURDIR)/build/bin:$(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)

# Brownie's own pytest plugin would compile the contracts and start a chain before the first test.
PYTEST := $(PY) -m pytest -p no:pytest-brownie

.DEFAULT_GOAL := help
.PHONY: help setup demo test analysis unit contracts fuzz coverage slither integration e2e lint format lock artifacts portal catalogue clean

help: ## tell what there is to make
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what the locks name; quick when nothing changed
	@$(PYTHON) tools/setup.py

demo: setup ## play the life of forty real loans, with their notices; KEEP=1 leaves the portal running
	@$(PY) -m scripts.demo $(if $(KEEP),--keep)

# Brownie keeps one core busy; the analyses take the other one meanwhile.
test: setup ## run everything: lint, unit, integration, e2e, contracts, slither, fuzz, coverage
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory integration
	@$(MAKE) --no-print-directory e2e
	@$(MAKE) --no-print-directory analysis >build/analysis.log 2>&1 & analysis=$$!; \
	$(MAKE) --no-print-directory contracts; contracts=$$?; \
	wait $$analysis; analysis=$$?; cat build/analysis.log; exit $$((contracts + analysis))
	@echo "Everything passed: lint, unit, integration, e2e, contracts, slither, fuzz, coverage."

analysis: setup ## what looks at the contracts besides Brownie: slither, fuzz, coverage
	@$(MAKE) --no-print-directory slither
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory coverage

unit: setup ## the Python unit tests: no network, no chain, seconds
	$(PYTEST) -n 2 --disable-socket --allow-unix-socket tests/unit

contracts: setup ## Brownie's test suite of the contracts, on Anvil
	.venv/bin/brownie test tests/contracts

RUNS ?= 2000
fuzz: setup ## Foundry's fuzz tests of schedules and calendar; longer with RUNS=200000
	FOUNDRY_FUZZ_RUNS=$(RUNS) forge test

coverage: setup ## lines and branches of the contracts that the Solidity tests run
	@$(PY) -m tools.coverage

slither: setup ## Slither's findings, against the answers in docs/security.md
	@$(PY) -m tools.slither

integration: setup ## the program against a chain in the process
	$(PYTEST) -n 2 --dist loadfile tests/integration

e2e: setup ## the whole way, against Anvil and a real SMTP server
	$(PYTEST) -n 2 tests/e2e

lint: setup ## ruff, mypy, import-linter
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

format: setup ## put the Python code into shape
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

lock: ## lock the Python packages anew, after a change of pyproject.toml or tools/schemathesis.in
	build/bootstrap/bin/uv lock
	build/bootstrap/bin/uv pip compile --universal --generate-hashes --python-version 3.11 --quiet --no-header -o tools/schemathesis.txt tools/schemathesis.in

artifacts: setup ## compile the contracts anew and write duly/chain/artifacts
	$(PY) -m duly.chain.compiler write

portal: setup ## bundle the portal's scripts anew
	npm run --silent portal

catalogue: setup ## bring the portal's translations up to date with its pages
	@$(PY) -m tools.catalogue

# The chain's accounts in build/home may hold keys that somebody made: they stay.
clean: ## remove what was installed and built, but build/home
	rm -rf .venv node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name home -exec rm -rf {} +; fi
