# make run    build everything in a virtual environment and record, decode and explain a program
# make test   all tests, with a seeded sample of every check; make acceptance runs the full lists
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CMD ?= ls -l /usr

SOURCES := $(shell find crates python pyproject.toml Cargo.toml -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' 2>/dev/null)

.PHONY: run test test-rust test-python lint acceptance conformance bench fuzz clean
run: $(VENV)/.built
	$(BIN)/odograph run -- $(CMD)

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' 'setuptools>=77' 'setuptools-rust>=1.10' wheel
	touch $@

$(VENV)/.built: $(VENV)/.made Cargo.lock $(SOURCES)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.built pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	touch $@

test: test-rust test-python

test-rust:
	cargo test --release --quiet --workspace --exclude odograph-python

test-python: $(VENV)/.dev
	$(BIN)/python -m pytest -q -n 2
