# Each target prepares what it needs first (deploy/prepare.py: idempotent, prints what it does and how long it took).
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=
NAME ?= live
export FOOTAGE

.PHONY: help setup demo test check bench fix clean page openapi

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 22

setup: python ## everything for running and developing: system packages, .venv, weights, the page
	@$(PYTHON) deploy/prepare.py all

demo: python ## the main job on embedded servers, with simulated cameras; ARGS="--check" proves it and ends
	@$(PYTHON) deploy/prepare.py demo
	@$(BIN)/python -m deploy.demo $(ARGS)

test: python ## all tests (real servers, real browser)
	@$(PYTHON) deploy/prepare.py all
	@$(BIN)/pytest $(ARGS)
	@cd hub/web/ui && PATH="$(CURDIR)/.venv/node:$$PATH" npm test --silent

check: python ## ruff, mypy strict, import contracts, OpenAPI types current, page type check and build
	@$(PYTHON) deploy/prepare.py all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy.openapi --check
	cd hub/web/ui && PATH="$(CURDIR)/.venv/node:$$PATH" npm run --silent check
	cd hub/web/ui && PATH="$(CURDIR)/.venv/node:$$PATH" npm run --silent build

bench: python ## one benchmark, e.g. NAME=live, NAME=detector, NAME=search, NAME=capture; JSON as its last line and in .bench/
	@$(PYTHON) deploy/prepare.py all
	@mkdir -p .bench
	@set -o pipefail; $(BIN)/python -m tests.bench.$(NAME) $(ARGS) | tee .bench/$(NAME).log && tail -n 1 .bench/$(NAME).log > .bench/$(NAME).json

openapi: python ## writes the page's API types anew from the hub's OpenAPI
	@$(PYTHON) deploy/prepare.py all
	$(BIN)/python -m deploy.openapi

fix: python ## formats and mends what can be mended by itself
	@$(PYTHON) deploy/prepare.py all
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## removes what was built; keeps nothing but the sources (demo data too)
	rm -rf .venv .bench .demo .cache .work .mypy_cache .ruff_cache .import_linter_cache hub/web/static hub/web/ui/node_modules

python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11, 3.12 or 3.13 is needed (Debian: apt-get install python3 python3-venv)." >&2; exit 1; }
.PHONY: python
