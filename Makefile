# make run    set up .venv and run the default study
# make test   set up .venv, lint, check types, run the tests; make thorough the longest ones
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test thorough setup lint tiny clean

run: setup
	$(BIN)/python run.py

# A worker for each core; they share the code that was compiled before (~/.cache/palirs).
test: setup lint
	$(BIN)/pytest -n auto --dist worksteal --durations 10

# What takes longest: studies killed again and again, two programs on one study, sweeps on Slurm.
thorough: setup
	$(BIN)/pytest --thorough -m thorough -n auto --dist worksteal

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# Every stage of a study once, in about two minutes; the numbers mean nothing.
tiny: setup
	$(BIN)/python run.py experiment=tiny study=studies/tiny

setup: .venv/ready

# torch first and alone: with it in place nothing else pulls in another build of it.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf .venv studies mlflow.db mlruns mlartifacts
