# Everything is installed into .venv by the first target that needs it; no step by hand.
#
#   make demo    landmarks with error bars on the portrait that comes with matplotlib, into demo/
#   make test    all tests
#   make check   ruff (lint and format) and pyright
#   make shapes  the quick tests, for the shapes and types in signatures
#   make demo-train   train on synthetic faces, predict, evaluate and draw, into demo-train/ (two minutes)
#   make bench   the benchmarks
#   make docs    the documentation, warnings as errors, into docs/_build/html

PYTHON ?= python3
# On a machine without a GPU, a package index with CPU builds of torch saves gigabytes:
#   make demo PIP_OPTIONS='--extra-index-url URL'
PIP_OPTIONS ?=
PYTEST_OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_OPTIONS) \
	-c constraints.txt
INSTALLED_BY := pyproject.toml constraints.txt

# Where matplotlib keeps its sample: an official photograph of the U.S. Navy, in the public domain.
PORTRAIT := from matplotlib.cbook import get_sample_data as find; \
	print(find("grace_hopper.jpg", asfileobj=False))

.PHONY: demo demo-train test check shapes bench docs clean

demo: $(VENV)/.runtime
	rm -rf demo
	$(BIN)/kdn predict "$$($(BIN)/python -c '$(PORTRAIT)')" --overlay demo
	@echo 'The landmarks are drawn in demo/grace_hopper.png.'

demo-train: $(VENV)/.runtime
	rm -rf demo-train
	$(BIN)/kdn train --recipe recipes/demo.yaml --out demo-train/run
	$(BIN)/kdn predict --model demo-train/run/best.safetensors --data synthetic:200:1 \
		--out demo-train/predictions.parquet --maps 8
	$(BIN)/kdn evaluate demo-train/predictions.parquet --json demo-train/results.json \
		--table demo-train/results.txt
	$(BIN)/kdn figures demo-train/predictions.parquet --out demo-train/figures
	@echo 'See demo-train/results.txt for the table and demo-train/figures/ for the figures.'

# A process a core with one thread each: several threads in several processes only wait for each
# other. A file stays in one process, which shares what its tests are set up with.
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev
	$(TEST) $(PYTEST_OPTIONS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# tests/conftest.py puts jaxtyping and beartype on every function of the package, so that each call
# checks its arguments and its result. `make test` has that too; this leaves out what trains.
shapes: $(VENV)/.dev
	$(TEST) -m 'not slow and not data and not gpu' $(PYTEST_OPTIONS)

bench: $(VENV)/.dev
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo 'See docs/_build/html/index.html.'

clean:
	rm -rf demo demo-train build docs/_build .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or later is needed; name it by PYTHON=…'; exit 1; }
	$(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo 'On Debian: apt-get install python3-venv'; exit 1; }

# The stamps: written when the install has gone through, older than what it depends on otherwise.
$(VENV)/.runtime: $(INSTALLED_BY) | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/.dev: $(INSTALLED_BY) | $(BIN)/python
	$(INSTALL) -e '.[dev]'
	touch $@ $(VENV)/.runtime

$(VENV)/.docs: $(INSTALLED_BY) | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	touch $@ $(VENV)/.runtime
