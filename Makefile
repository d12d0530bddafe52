# Every target works on a fresh clone. What has to be there before: Python 3.11+, Java 17, Maven.
# Thin on purpose: a target names a command and nothing else, so each can be run by hand.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
CODE := airflow_flink_iceberg tests $(wildcard dags playground scripts)

# Without byte code every process imports Airflow 2.4 times slower.
unexport PYTHONDONTWRITEBYTECODE

# $(call timed,NAME,COMMAND): runs COMMAND and says how long it took, also when it failed.
define timed
@bash scripts/timed "$(1)" $(2)
endef

.PHONY: help venv .venv demo playground test lint unit integration e2e drills bench docs wheel pins clean clean-all need-python need-java

help:
	@echo "demo         restart a live Flink job from a real DAG run and prove that no row was lost or doubled"
	@echo "test         all that a change must pass: lint, unit, integration, e2e, docs"
	@echo "playground   the demo's stack with the Airflow UI, until Ctrl-C"
	@echo "bench        side-by-side ratios; some of them: make bench ONLY=downtime_vs_rest"
	@echo "drills       the long tests: worlds, job shapes, versions, S3, fuzz, mutants"
	@echo "lint unit integration e2e docs   the parts of test"
	@echo "pins         resolve requirements/*.txt again     wheel   build dist/     clean   remove what was built"

need-python:
	@bash scripts/need python "$(PYTHON)"

need-java:
	@bash scripts/need java

# The environment, rebuilt only when the pins or the project's metadata change.
.venv venv: $(STAMP)

$(STAMP): requirements/uv.txt requirements/dev.txt pyproject.toml airflow_flink_iceberg/__init__.py | need-python
	$(call timed,environment,bash scripts/make-venv "$(PYTHON)" $(VENV) && touch $@)

demo: $(STAMP) need-java
	$(call timed,demo,$(BIN)/python -m playground.demo)

playground: $(STAMP) need-java
	$(BIN)/python -m playground up .playground --airflow

lint: $(STAMP)
	$(call timed,lint,bash scripts/lint $(BIN) $(CODE))

unit: $(STAMP)
	$(call timed,unit,bash scripts/run-tests $(BIN) unit)

integration: $(STAMP)
	$(call timed,integration,bash scripts/run-tests $(BIN) integration)

e2e: $(STAMP) need-java
	$(call timed,e2e,bash scripts/run-tests $(BIN) e2e)

drills: $(STAMP) need-java
	$(call timed,drills,bash scripts/run-tests $(BIN) drills)

docs: $(STAMP)
	$(call timed,docs,$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs)

test: $(STAMP)
	@bash scripts/all-parts "$(MAKE)" lint unit integration e2e docs

bench: $(STAMP) need-java $(VENV)/.bench
	$(call timed,bench,$(BIN)/python -m tests.bench $(ONLY))

# Only the benchmarks compare with these engines.
$(VENV)/.bench: requirements/bench.txt | $(STAMP)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r $<
	@touch $@

wheel: $(STAMP)
	@$(BIN)/python -m hatchling build -t wheel -t sdist

# After a change of dependencies in pyproject.toml; UPGRADE=--upgrade takes newer versions. No address is recorded.
pins: $(STAMP)
	$(BIN)/uv pip compile $(PIN) --group dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile $(PIN) --group bench -c requirements/dev.txt -o requirements/bench.txt

PIN := --quiet --no-header --no-annotate --python-version 3.11 $(UPGRADE)

# Leaves the environment alone (make clean-all removes it), and the playground, which may still be running.
clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache

clean-all: clean
	rm -rf $(VENV)
