# make run          build everything in a virtual environment, then record, decode and explain a program
# make test         all tests, with a seeded sample of every check
# make conformance all decoder conformance cases of ../shared
# make wheel        one wheel for every Python from 3.11 on, and a source distribution, in dist/
# make docs         the documentation site, in build/site
# make coverage     line coverage of the Python tests, room by room (COVER=tests/cli for a part)
# make acceptance   the full lists, part by part, with a time for each
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CMD ?= ls -l /usr
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
export PYTHON
# How a step that takes long says what it does, also in logs.
SAY := @echo "==>"

RUST := $(shell find crates -name '*.rs' -not -path '*/target/*') $(shell find crates -name Cargo.toml) \
	Cargo.toml Cargo.lock .cargo/config.toml
PACKAGE := $(RUST) pyproject.toml setup.py

.PHONY: run test test-rust test-python conformance lint format acceptance bench bench-scale fuzz wheel docs coverage clean

run: $(VENV)/.built
	$(BIN)/odograph run -- $(CMD)

$(VENV)/.made: tools/requirements.sh
	@tools/requirements.sh
	$(SAY) "making a virtual environment in $(VENV), with pip and setuptools: about ten seconds"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --upgrade 'pip>=25.1' 'setuptools>=77' wheel
	@touch $@

# cargo shows its progress here; setup.py, which runs the same command, finds all done.
$(VENV)/.built: $(VENV)/.made $(PACKAGE)
	@tools/requirements.sh
	$(SAY) "building the two Rust libraries: the first time 3 to 6 minutes on two cores, later parts of that"
	@cargo build --locked --release
	$(SAY) "installing the package in $(VENV), with numpy and click: some seconds"
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.built pyproject.toml
	$(SAY) "installing what the tests need in $(VENV): up to a minute"
	@$(PIP) --group dev
	@touch $@

test: test-rust test-python

# The same examples every time; `make acceptance` tries others.
test-rust: $(VENV)/.built
	$(SAY) "building the Rust tests: the first time 3 to 6 minutes on two cores"
	@cargo test --locked --profile quick --workspace --exclude odograph-python --exclude odograph-plugin --no-run
	$(SAY) "running the Rust tests"
	PROPTEST_RNG_SEED=20260101 cargo test --locked --profile quick --quiet --workspace \
		--exclude odograph-python --exclude odograph-plugin

test-python: $(VENV)/.dev
	$(SAY) "running the Python tests: some minutes"
	$(BIN)/python -m pytest -q -n 2

conformance: $(VENV)/.dev
	$(BIN)/python tests/conformance.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --allowlist tests/stubtest.allow --ignore-unused-allowlist odograph._native
	$(BIN)/lint-imports
	cargo fmt --check
	cargo clippy --profile quick --quiet --workspace --all-targets -- -D warnings
	cargo test --profile quick --quiet -p odograph-core --test arrows
	$(BIN)/python -m pytest -q tests/project/test_house.py tests/project/test_arrows.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cargo fmt

acceptance: $(VENV)/.dev
	$(BIN)/python tests/acceptance.py

$(VENV)/.bench: $(VENV)/.built pyproject.toml
	$(PIP) --group bench
	touch $@

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/bench.py --docs docs

bench-scale: $(VENV)/.built
	$(BIN)/python benchmarks/scale.py

# Needs cargo-fuzz (cargo install cargo-fuzz); CRATE=core, listing, objects or unwind, TARGET as in its fuzz/Cargo.toml.
CRATE ?= core
TARGET ?= flow
SECONDS ?= 600
fuzz:
	cd crates/$(CRATE) && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none $(TARGET) -- -max_total_time=$(SECONDS)

wheel: $(VENV)/.made
	$(SAY) "building the two Rust libraries with all optimisation: 5 to 10 minutes on two cores"
	@PYTHON=$(BIN)/python3 tools/wheel.sh

$(VENV)/.coverage-tools: $(VENV)/.dev pyproject.toml
	@$(PIP) --group coverage
	@touch $@

$(VENV)/.docs: $(VENV)/.built pyproject.toml
	$(SAY) "installing MkDocs in $(VENV): up to a minute"
	@$(PIP) --group docs
	@touch $@

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the site lies in build/site"

COVER ?= tests
coverage: $(VENV)/.coverage-tools
	$(BIN)/python tools/coverage.py $(COVER)

clean:
	rm -rf $(VENV) target build dist
