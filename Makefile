# Every target sets up what it needs: the virtual environment, the embedded servers, the database.
# DATABASE_URL and CELERY_BROKER_URL use real servers instead of the embedded ones: see .env.example.

PYTHON ?= python3
PYTHON313 ?= $(shell for python in python3.13 $$HOME/.pyenv/versions/3.13*/bin/python; do \
	"$$python" -c "" 2>/dev/null && echo "$$python" && break; done)
PORT ?= 8000
# Passed on to pytest, the demo or the benchmarks, as in `make test ARGS="-k keys"`.
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
# Tests wait for real workers more than they compute.
PROCESSES ?= $(shell $(PYTHON) -c "import os; print(min(8, 2 * (os.cpu_count() or 1)))")
PYTEST := -m pytest -n $(PROCESSES) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix chaos chaos-quick model mutation up down lint format types check bench scale screenshots requirements clean runtime dev
MAKEFLAGS += --no-print-directory

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: runtime ## Pay a real month through Celery while messages double and workers are killed
	@$(BIN)/python manage.py demo $(ARGS)

test: dev ## Run the tests, on embedded servers unless DATABASE_URL and CELERY_BROKER_URL name others
	@$(BIN)/python $(PYTEST) $(ARGS)

test-matrix: ## Run the tests on Python 3.13 with the newest Django
	@test -n "$(PYTHON313)" || { echo "No Python 3.13 was found: install it, or name it, as in \`make test-matrix PYTHON313=/path/to/python3.13\`."; exit 1; }
	@$(PYTHON313) deploy/environment.py $(NEWEST) requirements-dev.txt --newest django
	@$(NEWEST)/bin/python -c "import django, sys; print(f'Python {sys.version.split()[0]}, Django {django.__version__}')"
	@$(NEWEST)/bin/python $(PYTEST) $(ARGS)

up: runtime ## Serve it to explore by hand: web, worker and beat, with an admin login; Ctrl-C stops all
	@$(BIN)/python manage.py up --port $(PORT)

down: ## Stop the embedded servers
	@if [ -d .local ]; then $(MAKE) runtime && $(BIN)/python -m core.embedded; \
	else echo "No embedded server runs here."; fi

lint: dev ## Check style and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: dev ## Format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: dev ## Check types: strict for the ledger
	@$(BIN)/mypy

check: lint types ## All that CI checks: style, types, system checks, migrations, tests
	@$(BIN)/python manage.py check --fail-level WARNING
	@$(BIN)/python manage.py makemigrations --check --dry-run
	@$(MAKE) test

chaos: dev ## Break everything for 20 minutes under load, and count what was lost or done twice
	@$(BIN)/python -m tests.chaos $(ARGS)

chaos-quick: dev ## Break everything once: a line for each promise, in some three minutes
	@$(BIN)/python -m tests.chaos --quick --batch 8 --hits 2 $(ARGS)

model: dev ## Check the protocol's model with SPIN
	@$(BIN)/python -m model $(ARGS)

mutation: dev ## Break the protocol's key lines one by one, and see a test fail for each
	@$(BIN)/python -m tests.mutation $(ARGS)

bench: dev ## Measure the ledger against a plain transaction and a cache decorator
	@$(BIN)/python -m benchmarks $(ARGS)

scale: dev ## Measure pages and figures at ROWS executions, ten million by default (10 GB, kept for the next run)
	@$(BIN)/python -m benchmarks.scale $(if $(ROWS),--rows $(ROWS)) $(ARGS)

screenshots: dev ## Run a day of payroll and take the README's pictures of it (needs Chromium)
	@$(BIN)/python -m pytest -q -n 0 tests/browser/screenshots.py

requirements: dev ## Pin both requirements files anew from pyproject.toml (UPGRADE=--upgrade: newer releases)
	@for group in app dev; do \
		[ $$group = app ] && file=requirements.txt || file="requirements-dev.txt --constraint requirements.txt"; \
		$(BIN)/uv pip compile pyproject.toml --group $$group --output-file $$file $(UPGRADE) --quiet \
			--universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make requirements" || exit 1; \
	done

clean: ## Stop the embedded servers and remove all that was set up, their data included
	@if [ -d .local ]; then $(MAKE) down; fi
	@rm -rf .venv* .local .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime:
	@$(PYTHON) deploy/environment.py $(VENV) requirements.txt

dev:
	@$(PYTHON) deploy/environment.py $(VENV) requirements-dev.txt
