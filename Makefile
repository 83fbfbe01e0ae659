# chatsite: `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --require-hashes --no-deps
# The version of pyproject.toml. It has a build for every kind of machine, so pip may be told more:
# make up TORCH="torch==2.13.0 OPTIONS"
TORCH  ?= torch==2.13.0
STAMP  := $(VENV)/.installed
TESTS  ?= tests

.DEFAULT_GOAL := help
.PHONY: help up down test lint format test-fast lock bench backup restore model wheel messages clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

up: $(STAMP)  ## Set everything up, start the site, print its URL
	@$(BIN)/python -m inference.models.prepare
	@exec $(BIN)/python manage.py up

down:  ## Stop a site that runs, and all it started
	@if test -x $(BIN)/python; then $(BIN)/python manage.py down; else echo "Nothing was running."; fi

test: $(VENV)/.installed-dev browser lint  ## Everything: lint, unit, faults, real worker, real browser
	@$(BIN)/python -m inference.models.prepare
	$(BIN)/python -m pytest -n 3 $(TESTS)

lint: $(VENV)/.installed-dev  ## ruff, mypy, the import contracts, the JavaScript's types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy inference chatsite
	$(BIN)/lint-imports
	scripts/check_js.sh

format: $(VENV)/.installed-dev  ## Let ruff put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-fast: lint  ## Lint, and what needs neither a browser nor the default model (under a minute)
	$(BIN)/python -m pytest -q -n 2 --hypothesis-profile=quick -m "not browser and not model and not slow and not gpu" $(TESTS)

model: $(STAMP)  ## Make the default model's folder
	@$(BIN)/python -m inference.models.prepare

bench: $(VENV)/.installed-dev  ## What the site adds to the engine; lost tokens (must be 0)
	$(BIN)/python bench/site.py

wheel: $(STAMP)  ## The CPU kernels of every instruction set as a wheel, for machines without a compiler
	@$(BIN)/python -m inference.engine.native.wheel dist

backup: $(STAMP)  ## Database and keys into FILE=backup.tar.gz
	@$(BIN)/python manage.py backup $(or $(FILE),backup.tar.gz)

restore: $(STAMP)  ## Back from FILE=backup.tar.gz; the site must be down
	@$(BIN)/python manage.py restore $(or $(FILE),backup.tar.gz)

lock:  ## Write the lock files from pyproject.toml; UPGRADE=1 takes newer versions
	@test -x .venvs/lock/bin/uv || ($(PYTHON) -m venv .venvs/lock && .venvs/lock/bin/pip install --quiet uv==0.13.9)
	@$(PYTHON) scripts/lock.py .venvs/lock/bin/uv $(if $(UPGRADE),--upgrade)

messages: $(STAMP)  ## Collect the strings to translate into locale/ (needs gettext)
	$(BIN)/python manage.py makemessages --all --no-location --no-obsolete $(addprefix --ignore ,.venv .venvs var node_modules tests bench)
	$(BIN)/python manage.py compilemessages --ignore .venv --ignore .venvs

clean:  ## Remove the environment; data under var/ stay
	rm -rf $(VENV)

# Installed again only when the lock files change, so that a pull upgrades and a second start is quick.
$(STAMP): requirements.lock
	@$(PYTHON) scripts/check_python.py
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the requirements (the first time this takes minutes) …"
	@$(LOCKED) -r requirements.lock
	@$(PIP) $(TORCH)
	@touch $@

$(VENV)/.installed-dev: $(STAMP) requirements-dev.lock
	@echo "Installing what the tests need …"
	@$(LOCKED) -r requirements-dev.lock
	@touch $@

.PHONY: browser
browser:
	@scripts/ensure_chromium.sh

-include bench/bench.mk
-include tests/native/native.mk
