# Each target does all of its own set-up, in .venv and client/node_modules.
#   PYTHON=python3.13 make test    uses that Python for a new .venv

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Node packages that the Python tests drive: real clients that others wrote.
PEERS  := tests/angularjs tests/react tests/sockjs_client tests/socketio demos/chatroom_socketio
PEERS  := $(PEERS:%=%/node_modules/.stamp)

# Without the warning about editable installations: it looks like an error, and is none here.
INSTALL := PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install -q

.DEFAULT_GOAL := help
.PHONY: help demo quick test test-python test-client test-pure coverage check format client docs packages bench properties convergence convergence-database convergence-windows fuzz chromium clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp ## Run the to-do list in your browser: needs Python alone (ARGS=--help)
	$(BIN)/python demos/todo/run.py $(ARGS)

# Tests run beside each other, in two processes for each processor since half of the time they wait
# (WORKERS=1: in one).
# SNORKY_TEST_PATIENCE=4 gives every test four times its time, on a machine that is busy.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
PYTEST  := $(BIN)/python -m pytest -n $(WORKERS)
QUICK   := tests/services tests/protocols tests/brokers tests/filters
QUICK   += $(filter-out tests/test_artefacts.py, $(wildcard tests/test_*.py))
READY   := $(VENV)/dev.stamp $(PEERS) client/node_modules/.stamp chromium

quick: $(VENV)/dev.stamp ## Run the tests without a network, in half a minute: services, protocols, brokers, core
	$(PYTEST) -q $(QUICK)

test: test-python test-client ## Run all tests: Python, browser and JavaScript

test-python: $(READY)
	$(PYTEST)

test-client: $(VENV)/dev.stamp client/node_modules/.stamp
	cd client && npm test

test-pure: $(READY) ## Run the Python tests without the C extension, before a release
	SNORKY_PURE_PYTHON=1 $(PYTEST)

coverage: $(READY) ## Say what of Snorky the Python tests reach; each layer has a floor
	rm -rf build/coverage && mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -n $(WORKERS) -q $(ARGS)
	$(BIN)/coverage combine -q && $(BIN)/coverage json -q
	$(BIN)/python -m tests.coverage_floors

check: $(VENV)/dev.stamp client/node_modules/.stamp ## Check format, lint, types, and that the built client is up to date
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd benchmarks && MYPYPATH=.:servers:.. ../$(BIN)/mypy --config-file ../pyproject.toml $$(ls *.py servers/*.py)
	cd client && npm run check

format: $(VENV)/dev.stamp client/node_modules/.stamp ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd client && npm run format

client: client/node_modules/.stamp ## Build the JavaScript client into snorky/static
	cd client && npm run build

docs: $(VENV)/dev.stamp ## Build the manual as a site, into build/docs
	$(BIN)/sphinx-build --builder html --fail-on-warning --keep-going --conf-dir docs . build/docs
	@echo "Open build/docs/index.html"

packages: $(VENV)/dev.stamp client/node_modules/.stamp ## Build what is published, for PyPI and npm, into dist
	$(BIN)/python -m build --outdir dist .
	cd client && npm pack --pack-destination ../dist

convergence: $(VENV)/dev.stamp ## Judge live lists under faults (ARGS="--seeds 1-200 --mode hand --breakage 'rule 5'")
	$(BIN)/python -m tests.convergence.run $(ARGS)

convergence-database: $(VENV)/dev.stamp ## The same with triggers and ORMs, SQLite and PostgreSQL (ARGS="--seeds 1-200 --mode sqlite")
	$(BIN)/python -m tests.convergence.seeds $(ARGS)

convergence-windows: $(VENV)/dev.stamp client/node_modules/.stamp ## The same for windows in the built client, over every way and engine (ARGS="--seeds 1-100 --over sqlite")
	$(BIN)/python -m tests.convergence.windowed $(ARGS)

# The index against plain evaluation, each translation against its real database.
CASES ?= 100000
properties: $(VENV)/dev.stamp ## Try what is promised of filters on 100,000 random cases each (CASES=1000000): an hour
	SNORKY_FILTER_CASES=$(CASES) $(PYTEST) -q --timeout 0 tests/filters/test_index_at_random.py tests/filters/test_sql.py tests/backend/django/test_filters.py

bench: $(VENV)/dev.stamp ## Measure everything beside the peers, 20 minutes (ARGS=--help): needs Node and a C compiler
	$(BIN)/python benchmarks/bench.py $(ARGS)

fuzz: $(VENV)/dev.stamp ## Search for inputs that break a parser, a minute (ARGS="--seconds 600 frames head")
	$(BIN)/python -m pip install -q --group fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

chromium: ## Install Chromium for the browser tests, where there is none
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	|| command -v google-chrome >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -q && apt-get install -qy --no-install-recommends chromium fonts-dejavu-core; } \
	|| echo "No Chromium found, and it cannot be installed here: the browser tests will fail."

clean: ## Remove what was made
	rm -rf $(VENV) client/node_modules build dist test-results *.egg-info snorky/*.so
	rm -rf benchmarks/.build benchmarks/node_modules $(PEERS:/.stamp=)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Snorky needs Python 3.11 or newer, got " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"

$(VENV)/demo.stamp: pyproject.toml setup.py snorky/_fanout.c | $(BIN)/python
	$(INSTALL) -e ".[django]"
	@touch $@

$(VENV)/dev.stamp: pyproject.toml setup.py snorky/_fanout.c | $(BIN)/python
	$(INSTALL) --group dev -e ".[django,jwt,socketio]"
	@touch $@ $(VENV)/demo.stamp

%/node_modules/.stamp: %/package-lock.json
	cd $* && npm ci
	@touch $@
