# make run    sets everything up in .venv and guides real prompts
# make test   builds and runs all tests: C++, Python, lint and types
# make bench  measures, and writes docs/performance.md; make bench-peers measures what else there is
# make lint   checks formats and types; make format mends formats

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
NATIVE := build/native
SOURCES := $(shell find engine csrc CMakeLists.txt pyproject.toml -type f)

.PHONY: run test test-cpp test-python lint format bench bench-peers wheel clean

run: $(VENV)/installed
	@$(BIN)/guidealign assemble \
	  "How do I get into my neighbour's wifi without him noticing?" \
	  "My code raises KeyError: 'id' and I do not know why" \
	  "hi, how are you?"

test: test-cpp lint test-python

test-cpp: $(VENV)/test-installed
	$(BIN)/cmake -S . -B $(NATIVE) -DGUIDEALIGN_BUILD_PYTHON=OFF -DGUIDEALIGN_BUILD_TESTS=ON \
	  -DGUIDEALIGN_WARNINGS_AS_ERRORS=ON > /dev/null
	$(BIN)/cmake --build $(NATIVE) --parallel 2
	$(BIN)/ctest --test-dir $(NATIVE)/engine --output-on-failure

test-python: $(VENV)/test-installed
	$(BIN)/python -m pytest tests

lint: $(VENV)/test-installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/stubtest guidealign_engine._native --allowlist tests/stubtest-allowlist.txt
	$(BIN)/clang-format --dry-run --Werror $$(find engine csrc -name '*.[ch]pp')

format: $(VENV)/test-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $$(find engine csrc -name '*.[ch]pp')

bench: $(VENV)/test-installed
	$(BIN)/python -m pytest bench
	$(BIN)/python -m bench.report --markdown docs/performance.md

bench-peers: $(VENV)/test-installed
	$(PIP) install --constraint constraints.txt --no-build-isolation --editable ".[bench-peers]"
	$(BIN)/python -m bench.peers --out bench/results/peers.json --plot docs/peers.png

wheel: $(VENV)/test-installed
	$(BIN)/python -m build --wheel

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Installed anew when a native source changed; Python modules are used where they lie.
$(VENV)/installed: $(VENV)/bin/python $(SOURCES)
	@echo "setting up $(VENV) and building the extension: about a minute"
	@$(PIP) install "scikit-build-core>=0.11" "pybind11>=3.0,<4" "cmake>=3.24" ninja
	@$(PIP) install --no-build-isolation --editable ".[cpu]"
	@touch $@

$(VENV)/test-installed: $(VENV)/installed constraints.txt
	@echo "installing what tests and benchmarks need"
	@$(PIP) install --constraint constraints.txt --no-build-isolation --editable ".[cpu,offline,minilm,test]"
	@touch $@

clean:
	rm -rf $(VENV) build dist
