# Every target works in a fresh clone: devstack/bootstrap.sh installs what is missing first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

DATE ?= 2026-01-13
PORT ?= 8080
PYTHON_BIN := .venv/bin/python
# One more than cores there are two of: the tests wait for servers a good part of their time.
IN_PROCESSES := -n 3 --dist loadfile --no-loadscope-reorder
export PYTHON

.PHONY: help run load up airflow reverse-etl down test check integration test-reliability test-live format bench screenshots notebooks notebooks-page lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | awk -F"|" '{ printf "%-25s %s\n", $$1, $$2 }'

run: ## Run both jobs, or the DAG=... given, for one day and show the result (DATE=2026-01-13, REFUSE_EVENT=page_view)
	@devstack/bootstrap.sh --date '$(DATE)'
	@$(PYTHON_BIN) -m devstack.run --date '$(DATE)'$(if $(DAG), --dag '$(DAG)') $(if $(REFUSE_EVENT),--refuse-event '$(REFUSE_EVENT)')

load: ## Run a SQL file on the database of make run and make up (FILE=docs/examples/signups/schema.sql)
	@devstack/bootstrap.sh
	@$(PYTHON_BIN) -m devstack.load --file '$(FILE)'

up: ## Start Airflow with its UI, the database and the sandbox in the background (PORT=8080)
	@devstack/bootstrap.sh
	@$(PYTHON_BIN) -m devstack.up --port '$(PORT)'

airflow: ## Run Airflow's command line on the Airflow of make up (ARGS='dags list')
	@devstack/bootstrap.sh
	@$(PYTHON_BIN) -m devstack.airflow_command $(ARGS)

reverse-etl: ## Run reverse-etl (check, preview, quarantine, forget, ...) on make up or make run (ARGS='quarantine list')
	@devstack/bootstrap.sh
	@$(PYTHON_BIN) -m devstack.reverse_etl_command $(ARGS)

down: ## Stop what make up started
	@if [[ -x $(PYTHON_BIN) ]]; then $(PYTHON_BIN) -m devstack.down; else echo "Nothing of this folder is running."; fi

test: check integration test-reliability ## Run check, the integration tests and test-reliability

check: ## Lint, formatting, types and the fast tests; a minute or two
	@devstack/bootstrap.sh --dev
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON_BIN) -m pytest -q -m 'not integration and not live' -n 2 --dist worksteal

integration: ## Run the tests that start databases, the sandbox and Airflow
	@devstack/bootstrap.sh --dev
	@$(PYTHON_BIN) -m pytest -q -m 'integration and not reliability' $(IN_PROCESSES)

test-reliability: ## Kill, lock, fill up and cut off what a run needs, and check what is left; about three minutes
	@devstack/bootstrap.sh --dev
	@timeout --kill-after=30 900 $(PYTHON_BIN) -m pytest -q -m reliability tests/reliability $(IN_PROCESSES)

test-live: ## Send to real accounts, named by the environment, and clean up (docs/live-tests.md)
	@devstack/bootstrap.sh --dev
	@$(PYTHON_BIN) -m pytest -q -r fE -m live tests/live

format: ## Format the code, mend what the linter can, strip the notebooks of outputs
	@devstack/bootstrap.sh --dev
	@.venv/bin/ruff check --fix-only .
	@.venv/bin/ruff format .
	@$(PYTHON_BIN) -m devstack.notebooks strip

bench: ## Measure against a plain script, an operator per row, drt-core, a bare loader, Customer.io's SDK
	@devstack/bootstrap.sh --dev
	@$(PYTHON_BIN) -m benchmarks

screenshots: ## Take the pictures of the README in a real browser
	@devstack/bootstrap.sh --dev
	@$(PYTHON_BIN) -m devstack.screenshots

notebooks: ## Open the notebooks in JupyterLab (ARGS='--no-browser' where there is none)
	@devstack/bootstrap.sh --notebooks
	@.venv/bin/jupyter-lab notebooks $(ARGS)

notebooks-page: ## Run the notebooks and write what they show into docs/notebooks.md
	@devstack/bootstrap.sh --dev
	@$(PYTHON_BIN) -m devstack.notebooks page

lock: ## Pin every package again in constraints.txt
	@devstack/bootstrap.sh --dev
	@PATH="$$PATH:.local/uv/bin" uv pip compile --universal --python-version 3.11 \
		requirements.txt requirements-dev.txt requirements-notebooks.txt -o constraints.txt --no-header

clean: ## Stop everything and remove .venv and .local, with the data in it
	@if [[ -x $(PYTHON_BIN) ]]; then $(PYTHON_BIN) -m devstack.down; fi
	@rm -rf .venv .local
