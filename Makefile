# Everything a person does here. `make` alone prints this help.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The Python of the system a .deb is for.
DEB_PYTHON ?= 3.11

# What tests/machine starts: Debian's names.
MACHINE_PACKAGES := debootstrap e2fsprogs fish mount strace systemd-container util-linux zsh

# What tests/fuzz/search.py searches: a target is a function of tests/support/fuzz_targets.py.
FUZZ_TARGETS := json_log log tail state metadata operation lock exit_record output_json backend settings request redaction
FUZZ_S ?= 300

.DEFAULT_GOAL := help
.PHONY: help demo test e2e soak fuzz check docs picture wheel deb bench clean

help:  ## print this help
	@echo "proton-tf-agent: make TARGET"
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed  ## install into .venv and show the main job (needs python3 with venv, nothing else)
	@$(BIN)/proton-tf-agent demo

# worksteal: the tests of a file stay together as long as they can, so that what they share is made once.
test: $(VENV)/.installed-for-tests check  ## install what tests need and run them all
	$(BIN)/python -m pytest -n 2 --dist worksteal

e2e: $(VENV)/.installed-for-tests  ## run what needs root and programs of the machine; installs those with apt-get
	@tests/machine/install_packages $(MACHINE_PACKAGES)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/machine

soak: $(VENV)/.installed-for-tests  ## run every suite that has a long form, for hours
	@tests/machine/install_packages $(MACHINE_PACKAGES)
	PTFA_SOAK=1 $(BIN)/python -m pytest -n 2 $$(grep -rl --include='test_*.py' '^from support.soak import' tests)

fuzz: $(VENV)/.installed-for-tests  ## search every reader of foreign input by coverage, FUZZ_S seconds each (needs atheris)
	@$(PIP) install --only-binary atheris atheris \
	  || { echo "make fuzz: atheris has no wheel for $$($(BIN)/python -V); nothing was searched" >&2; exit 1; }
	@for target in $(FUZZ_TARGETS); do \
	  echo "$$target"; $(BIN)/python tests/fuzz/search.py $$target $(FUZZ_S) || exit 1; done

check: $(VENV)/.installed-for-tests  ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/.installed-for-tests  ## write again what is generated: docs/states.md, config/, shell/
	$(BIN)/python docs/generate_states.py > docs/states.md.new && mv docs/states.md.new docs/states.md
	$(BIN)/python docs/generate_shell.py proton_tf_agent/shell
	$(BIN)/proton-tf-agent config generate > config/agent.toml
	$(BIN)/proton-tf-agent config schema > config/agent.schema.json

picture: $(VENV)/.installed  ## play the demo and write docs/demo.svg, the picture of it
	$(BIN)/python docs/record_demo.py docs/demo.svg.new && mv docs/demo.svg.new docs/demo.svg

wheel: $(VENV)/.installed-for-tests  ## build dist/*.whl; the same sources give the same bytes
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .

deb: wheel  ## build dist/*.deb for Debian 12 (DEB_PYTHON=3.12: Ubuntu 24.04)
	packaging/build_deb dist/proton_tf_agent-*.whl $(DEB_PYTHON) $(PIP)

bench: $(VENV)/.installed-for-tests  ## measure against floors and peers in one run, write docs/benchmarks.md
	$(BIN)/python -m compileall -q proton_tf_agent  # as pip does with what it installs
	$(BIN)/python -m bench --write docs/benchmarks.md

clean:  ## remove .venv and caches
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis .fuzz
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-for-tests: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.installed
