# Every target sets itself up first, so that any of them works as the first command on a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.linked
PIP := $(PY) -m pip --quiet --disable-pip-version-check --no-input
T ?=
SECONDS ?= 60
STEPS ?= 200000
SEED ?=
ONLY ?=
ROUNDS ?= 30
M ?=

.PHONY: help demo dev test check fmt cov trace mutants fuzz bench load lock clean conformance interop bench-peers
.PHONY: check-ruff check-format check-mypy check-imports

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or later is needed; name it with PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }

# --no-deps: the lock is complete, and pip else looks at what came out since for a package that is asked for with an extra
$(VENV)/.installed: .ci/requirements.lock | $(VENV)/bin/python
	@echo "Installing $$(grep -c == $<) locked packages into $(VENV) (once; a minute or two) ..."
	@$(PIP) install --no-deps --require-hashes --only-binary :all: -r $<
	@touch $@

$(READY): pyproject.toml $(VENV)/.installed
	@echo "Linking the project into $(VENV) ..."
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## the main job once, end to end, over TLS: an agent's tool call, and the thief's failures
	@$(PY) docs/examples/demo.py

dev: $(READY) ## the same parts, left running, with their URLs and a demo user printed
	@$(PY) docs/examples/demo.py --dev

test: $(READY) ## everything that must pass; T=unit runs one folder of tests/; T=expectations prints variants × expectations, T=browser looks in Chromium
ifdef T
	@$(PY) -m pytest -q tests/$(T)
else
	@failed=0; \
	PYTHONHASHSEED=0 $(PY) -m pytest -q --numprocesses auto --maxprocesses 4 -m "not alone" || failed=1; \
	$(PY) -m pytest -q -m alone || failed=1; \
	exit $$failed
endif

check: $(READY) ## ruff, mypy --strict and import-linter; no network
	@$(MAKE) --jobs 4 --output-sync=target check-ruff check-format check-mypy check-imports

check-ruff: $(READY)
	@$(PY) -m ruff check .

check-format: $(READY)
	@$(PY) -m ruff format --check .

check-mypy: $(READY)
	@$(PY) -m mypy

check-imports: $(READY)
	@$(VENV)/bin/lint-imports --no-logo --cache-dir .cache/import_linter

fmt: $(READY) ## format, and fix what ruff can fix
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

cov: $(READY) ## branch coverage; 100 % for */protocol and rules.py
	@$(PY) -m pytest -q --cov --cov-report=
	@$(PY) -m coverage report --skip-covered --skip-empty
	@$(PY) -m coverage report --skip-covered --include='*/protocol/*,*/rules.py' --fail-under=100

trace: $(READY) ## docs/traceability.md from the marks of the tests; fails on a MUST without its proofs
	@$(PY) -m tests.support.trace_report

mutants: $(READY) ## guards removed one by one: each must turn a test red; M="name name" runs some
	@$(PY) -m tests.mutants $(M)

fuzz: $(READY) $(VENV)/.fuzz ## 200,000 steps beside the model, 10,000 tool calls, every parser under atheris; SECONDS= STEPS= SEED= ONLY=tools
	@$(PY) -m tests.properties.campaign --seconds $(SECONDS) --steps $(STEPS) \
		$(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

$(VENV)/.fuzz: .ci/fuzz.lock | $(READY)
	@$(PIP) install --no-deps --require-hashes --only-binary :all: -r $<
	@touch $@

bench: $(READY) ## our figures beside the raw cost of the same cryptography; build/bench.json
	@$(PY) -m tests.bench

bench-peers: $(READY) build/peers/python/.installed ## rs_kit beside oauth4webapi (npm), auth0-api-python and joserfc, on one core
	@$(PY) -m tests.bench.peers

build/peers/python/.installed: .ci/peers.lock | $(READY)
	@echo "Installing $$(grep -c == $<) locked packages of a peer into build/peers/python (once) ..."
	@$(PY) -m venv build/peers/python
	@build/peers/python/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
		--only-binary :all: -r $< || { echo "pip cannot reach an index with the peer's packages"; exit 1; }
	@touch $@

conformance: $(READY) ## the MCP conformance suite (npm) against a server behind rs_kit, and with our agent as its client
	@$(PY) -m tests.conformance

interop: $(READY) ## openid-client (npm), unmodified, completes its flows against a running server
	@$(PY) -m tests.interop

load: $(READY) ## races of 20 rounds, 1,700 slow connections for a minute, a million proofs, a minute without the issuer, a thousand renewals, 20 key rotations, a thousand registrations, 100,000 clients
	@LOAD=full $(PY) -m pytest -q -s tests/system/test_races_across_workers.py tests/system/test_slow_peers.py \
		tests/system/test_kit_replay_over_workers.py tests/contract/test_used_once_sizes.py \
		tests/system/test_issuer_outage.py tests/system/test_agent_processes.py \
		tests/system/test_key_rotation_under_load.py tests/system/test_registration_over_workers.py \
		tests/system/test_many_clients.py

faults: $(READY) ## kill -9, full and failing disks, a lock, a clock that jumps, under load; ROUNDS=3 is short, 0 is what `make test` has not
	@$(PY) -m tests.faults $(ROUNDS)

lock: $(READY) ## resolve the dependencies anew into the lock files of .ci
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --output-file .ci/requirements.lock pyproject.toml
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --group fuzz --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --output-file .ci/fuzz.lock
	@$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --group peers --generate-hashes --no-header \
		--no-annotate --no-emit-index-url --output-file .ci/peers.lock
	@cd .ci && npm install --package-lock-only --ignore-scripts --no-audit --no-fund --omit-lockfile-registry-resolved

clean: ## remove what was built, the virtual environment too
	@rm -rf $(VENV) build dist .cache .coverage .import_linter_cache .ruff_cache .hypothesis
