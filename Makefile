# Two commands: `make bench` and `make test`. Nothing outside this folder is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SUITE  ?= quick
OUT    ?= bench/$(SUITE)
JOBS   ?= $(shell $(PYTHON) -c "import os; print(len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count())")

.PHONY: bench test test-faults test-slow speed peers lint clean

bench: $(VENV)/.run
	$(BIN)/pbrl run $(SUITE) -o $(OUT) --jobs $(JOBS) $(BENCH_ARGS)
	$(BIN)/pbrl table $(OUT)
	$(BIN)/pbrl plot $(OUT)

test: lint
	$(BIN)/pytest -n $(JOBS)

# Minutes: processes killed, disks full, cells that misbehave, suites that make no sense.
test-faults: $(VENV)/.dev
	$(BIN)/pytest -n $(JOBS) -m faults

# Minutes to an hour: kill-and-resume a hundred times, reproduction targets, coverage of intervals.
test-slow: $(VENV)/.dev
	$(BIN)/pytest -n $(JOBS) -m slow

# Ten minutes on an idle core: the tables of results/speed; the script says what SPEED_ARGS may be.
speed: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/speed.py $(SPEED_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(BIN)/python:
	@$(PYTHON) -c "import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 13) else f'found Python {v[0]}.{v[1]}, expected 3.11 or 3.12: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV)

# torch first and by itself: pip then never looks for another build of it.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the locked packages into $(VENV): a minute or two"
	$(BIN)/python -m pip install -q "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,ray]"
	touch $@

# Packages that tests compare with; without them those tests are skipped.
peers: $(VENV)/.peers

$(VENV)/.peers: $(VENV)/.dev
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[peers]"
	touch $@

clean:
	rm -rf $(VENV) bench build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
