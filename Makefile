# The front door. Everything sets itself up: a venv in .venv with the packages pinned in the locks.
# Needs Python >= 3.11 and a package index; PYTHON=... names another Python, ARGS=... passes options.
SHELL := /bin/bash
PY := .venv/bin/python
RUN := .venv/.installed
DEV := .venv/.installed-dev
UV ?= $(shell command -v uv || echo .venv/bin/uv)
LOCK := pip compile pyproject.toml --group build --extra embedded --extra phone --generate-hashes \
	--universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" --quiet

.PHONY: help install demo up test test-all fuzz check lint types docs bench bench-peers lock clean
.DELETE_ON_ERROR:

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(RUN) ## make the venv, and start nothing

demo: $(RUN) ## start everything, have a phone call it, check what was heard
	@$(PY) -m trunkline demo $(ARGS)

up: $(RUN) ## run the system on this machine, and say which number to dial
	@$(PY) -m trunkline up $(ARGS)

test: $(DEV) ## the tests
	$(PY) -m pytest -m "not deep" $(ARGS)

test-all: $(DEV) ## the tests and the long ones, with every SIP program that is installed
	$(PY) -m pytest $(ARGS)

fuzz: $(DEV) ## a million inputs from peers that mean no good, or know no better
	$(PY) -m tests.fuzz.run --inputs 1000000 $(ARGS)

check: lint types ## format, lint, types, import contracts, generated documents
	.venv/bin/lint-imports
	$(PY) -m trunkline asyncapi --check docs/asyncapi.yaml
	$(PY) -m trunkline settings-docs --check docs/settings.md

lint: $(DEV) ## format and lint
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

types: $(DEV) ## mypy, strict
	.venv/bin/mypy

docs: $(DEV) ## write the generated documents anew
	$(PY) -m trunkline asyncapi > docs/.new && mv docs/.new docs/asyncapi.yaml
	$(PY) -m trunkline settings-docs > docs/.new && mv docs/.new docs/settings.md

bench: $(DEV) ## measure; bench/README.md explains the figures
	$(PY) bench/latency.py $(ARGS)

bench-peers: $(DEV) var/bench-peers/.installed ## race Pipecat; bench/README.md says what is fair
	$(PY) bench/peers/race.py $(ARGS)

var/bench-peers/.installed: bench/peers/requirements-pipecat.txt
	$(PY) -m venv var/bench-peers
	var/bench-peers/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

lock: ## pin the newest packages that fit (needs uv)
	$(UV) $(LOCK) --upgrade -o requirements.lock
	$(UV) $(LOCK) --group dev --group bench -c requirements.lock --upgrade -o requirements-dev.lock

clean: ## remove what was made here, calls and recordings too
	rm -rf .venv var build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): requirements.lock pyproject.toml .ci/venv
	@.ci/venv requirements.lock
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	@.ci/venv requirements-dev.lock
	@touch $@
