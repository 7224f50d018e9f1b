# Everything on one machine. Needs Python 3.11 and make; no Docker, Java, database or broker.
#   make help

# The first that runs and is new enough: a version manager's shim may be there without a Python behind it.
PYTHON      ?= $(shell for python in python3.11 python3 python; do \
                 $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV        := .venv
BIN         := $(VENV)/bin
PYTEST_ARGS ?=
INPUTS      := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status clean test long hostile check bench faults contracts mixed roll

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.dev ## a virtual environment with everything to work on the project

demo: $(VENV)/.local ## the whole main job on fresh servers: a few minutes, exits 0 when all of it came true
	@$(BIN)/python -m deploy.local demo

up: $(VENV)/.local ## start all services and stay; Ctrl-C stops them, the next `make up` finds the data again
	@$(BIN)/python -m deploy.local up

down: $(VENV)/.local ## stop a running `make up`
	@$(BIN)/python -m deploy.local down

status: $(VENV)/.local ## which servers and services are ready
	@$(BIN)/python -m deploy.local status

clean: $(VENV)/.local ## remove the data of `make up` (refuses while it runs)
	@$(BIN)/python -m deploy.local clean

# Two workers, each with a broker and a database of its own; a file's tests stay together and in order.
test: $(VENV)/.dev ## every test, on a real broker and a real database
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long" $(PYTEST_ARGS)

long: $(VENV)/.dev ## the tests that take minutes each: a roll-out, services in environments of their own
	@$(BIN)/python -m pytest -m long --durations=10 $(PYTEST_ARGS)

hostile: $(VENV)/.dev ## what no honest caller sends: generated calls, wrong records, any text for the parsers
	@HOSTILE=full $(BIN)/python -m pytest tests/hostile -s --timeout 3600 $(PYTEST_ARGS)

check: $(VENV)/.dev ## format, lint, types, boundaries and the fast tests: under a minute
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -n auto -m "not stack and not journey" $(PYTEST_ARGS)

bench: $(VENV)/.dev ## the performance figures of README, measured on this machine
	@$(BIN)/python -m bench

mixed: $(VENV)/.dev ## the journeys on mixtures of this version and OLD=<commit>; ONLY=<service> for one in turn
	@$(BIN)/python -m deploy.mixed --old "$(OLD)" $(if $(ONLY),--only $(ONLY))

faults: $(VENV)/.dev ## ten minutes of load while everything is killed, frozen and cut; then every book is compared
	@$(BIN)/python -m faults $(FAULTS_ARGS)

roll: $(VENV)/.dev ## every service replaced three times under load, two replicas each; OLD=<commit> begins with that version
	@$(BIN)/python -m faults.rolling $(if $(OLD),--old "$(OLD)")

contracts: $(VENV)/.dev ## write the published schemas again after a change of contract
	@$(BIN)/python -m deploy.publish

# Each stamp is newer than what it was made from, so the second time costs nothing.

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and was not found: install it, or say where it is with make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# What the services and the local servers need: less than half of what work on the project needs.
$(VENV)/.local: $(VENV)/.made $(INPUTS)
	@test -e $(VENV)/.dev -a ! $(VENV)/.dev -ot pyproject.toml -a ! $(VENV)/.dev -ot constraints.txt || $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[receiving,inventory,allocation,trace,integration,local]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(INPUTS)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
