# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AUDIT := .venv-audit

# pip's own words go to a file; every ten seconds a line says how far it is
define install
log=$(VENV)/install.log; \
$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '$(1)' >$$log 2>&1 & \
pid=$$!; trap 'kill $$pid; exit 130' INT TERM; seconds=0; \
while kill -0 $$pid 2>/dev/null; do \
	sleep 1; seconds=$$((seconds + 1)); \
	[ $$((seconds % 10)) -ne 0 ] || echo "  installing for $$seconds s: $$(du -sh $(VENV) | cut -f1) so far"; \
done; \
wait $$pid || { tail -n 20 $$log; exit 1; }
endef

.PHONY: demo test test-slow test-viewer viewer check audit bench fuzz campaign clean

PAGE := src/histoscout/viewer/page/index.html

demo: $(VENV)/ready
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory viewer; else echo "The page of histoscout view is not built: install Node 20 or newer, then run make viewer."; fi
	$(BIN)/histoscout demo -o demo
	@echo "In each new terminal, before other commands: source $(BIN)/activate"

# the page of `histoscout view`, built into the package; it needs Node 20 or newer
viewer: $(PAGE)

$(PAGE): viewer/index.html viewer/package-lock.json viewer/vite.config.js $(wildcard viewer/src/*)
	@echo "Building the page of histoscout view."
	cd viewer && npm ci --no-audit --no-fund --silent && npm run --silent build

# the page in Chromium, which must be installed
test-viewer: $(VENV)/ready-dev viewer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m viewer

test: $(VENV)/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow and not viewer"

# the rest: trainings and whole commands that take minutes
test-slow: $(VENV)/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m slow

check: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_house.py

# known holes in the exact versions of constraints.txt; it asks a service on the network, so it is no part of `make check`,
# and fails if a version cannot be looked up
audit:
	test -x $(AUDIT)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet pip-audit; }
	$(AUDIT)/bin/pip-audit --strict --vulnerability-service osv --no-deps --disable-pip --requirement constraints.txt

# DATA names a folder of real slides and annotations for the two that need one
bench: $(VENV)/ready-dev
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/detection.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/annotations.py
	$(BIN)/python benchmarks/synthetic_difficulty.py
ifdef DATA
	$(BIN)/python -m benchmarks.qpdata $(DATA)
	$(BIN)/python benchmarks/alignment.py $(DATA)
endif

# 10,000 broken files of every annotation format; COUNT=300 for a short one
fuzz: $(VENV)/ready-dev
	$(BIN)/python -m tests.fuzz.run --count $(or $(COUNT),10000)

# kills, races, damages and interrupts of every command, on Linux; KILLS=54 for a shorter one
campaign: $(VENV)/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign.run --kills $(or $(KILLS),200) --races $(or $(RACES),100) \
		--damages $(or $(DAMAGES),500) --interrupts $(or $(INTERRUPTS),200)

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("histoscout needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing torch and other libraries into $(VENV): 6.5 GB of disk, 3 to 15 minutes."
	@$(call install,.[viewer])
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	@echo "Installing what the tests need into $(VENV)."
	@$(call install,.[dev])
	touch $@

clean:
	rm -rf $(VENV) $(AUDIT) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
