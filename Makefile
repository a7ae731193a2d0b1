# make setup | test | demo | examples | notebooks | wheel | lint | docs. Every target makes the environment it needs.

PYTHON ?= python3.11
BACKENDS := tensorflow torch jax
BACKEND ?= tensorflow
# Test processes side by side, each about one core. Output is shown one backend after the other.
JOBS ?= 2

BIN := .venv/bin
STAMP := .venv/.complete
GPU := $(shell nvidia-smi -L 2>/dev/null)

# The build for CUDA takes gigabytes: on Linux without a GPU the "+cpu" build is asked for by name.
TORCH := torch==2.13.0$(if $(GPU),,$(if $(filter Linux,$(shell uname -s)),+cpu))
TORCH_INDEX := https://download.pytorch.org/whl/cpu
TENSORFLOW := tensorflow$(if $(GPU),,$(if $(filter Linux,$(shell uname -s)),-cpu))

export TF_CPP_MIN_LOG_LEVEL ?= 2
export MPLBACKEND ?= Agg

.PHONY: setup test demo examples notebooks lint docs docs-version pictures clean wheel release

setup: $(STAMP)

# torch comes first: what is installed later finds its requirement met.
$(STAMP): pyproject.toml Makefile
	@rm -f $(STAMP)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH) \
	  || $(BIN)/python -m pip install --quiet $(TORCH) --extra-index-url $(TORCH_INDEX)
	$(BIN)/python -m pip install --quiet $(TENSORFLOW) jax -e ".[demo,test,voxelmorph]"
	@touch $(STAMP)

# ALSO: further targets for the same jobs; one backend's tests alone would leave a core idle.
test: setup
	@$(MAKE) --no-print-directory --keep-going $(if $(filter-out 1,$(JOBS)),-j$(JOBS) -O) \
	  $(BACKENDS:%=test-%) $(ALSO)

# TensorFlow keeps every program it compiled: one process takes 18 GB, three at most 10 each.
LARGE := tests/synthesis tests/registration

# JAX's compiled programs serve all parts (tests/conftest.py).
test-%: setup
	@programs=$$(mktemp -d) && trap 'rm -rf "$$programs"' EXIT && \
	export JAX_COMPILATION_CACHE_DIR="$$programs"; status=0; \
	for part in $(LARGE) "tests $(LARGE:%=--ignore=%)"; do \
	  echo "=== $* $$part"; \
	  KERAS_BACKEND=$* $(BIN)/python -m pytest -q --durations=10 -m "not examples" $$part \
	  || status=1; done; exit $$status

examples: setup
	@$(MAKE) --no-print-directory --keep-going $(BACKENDS:%=examples-%)

examples-%: setup
	KERAS_BACKEND=$* $(BIN)/python -m pytest -q -m examples --durations=0

demo: setup
	KERAS_BACKEND=$(BACKEND) $(BIN)/anyvox demo --out demo

# The built wheel in a bare environment with one backend, as the README installs it, registers.
wheel: wheel-torch

wheel-torch: PACKAGE := $(TORCH)
wheel-tensorflow: PACKAGE := $(TENSORFLOW)
wheel-jax: PACKAGE := jax

wheel-%: setup
	@room=$$(mktemp -d) && trap 'rm -rf "$$room"' EXIT && bare="$$room/env/bin/python" && \
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir "$$room" . && \
	$(BIN)/python -m venv "$$room/env" && \
	{ "$$bare" -m pip install --quiet $(PACKAGE) \
	  || "$$bare" -m pip install --quiet $(PACKAGE) --extra-index-url $(TORCH_INDEX); } && \
	"$$bare" -m pip install --quiet "$$room"/*.whl && \
	mkdir "$$room/empty" && cp .ci/register_installed.py "$$room" && cd "$$room/empty" && \
	env -u PYTHONPATH KERAS_BACKEND=$* "$$bare" ../register_installed.py

# dist/: sdist, wheel and notes of a release, from a clean checkout whose changelog names VERSION.
release: setup
	$(BIN)/python .ci/release.py $(VERSION)
	$(MAKE) wheel

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy

docs: setup
	@$(BIN)/python -c "import material, mkdocstrings" 2>/dev/null \
	  || $(BIN)/python -m pip install --quiet -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir site

# The site of a version beside those of others, on the local branch gh-pages; uploads nothing.
docs-version: docs
	NO_MKDOCS_2_WARNING=1 PATH="$$PWD/$(BIN):$$PATH" \
	  mike deploy --update-aliases $(VERSION) latest
	PATH="$$PWD/$(BIN):$$PATH" mike set-default latest

# Executes the notebooks and stores them with their outputs, which the site shows.
notebooks: setup
	cd examples/notebooks && KERAS_BACKEND=torch ../../$(BIN)/jupyter execute --inplace *.ipynb

# The documentation's pictures that need no data and no training run, or those of ONLY="NAME ...";
# ONLY=--list names all, and what makes the others.
pictures: setup
	$(BIN)/python docs/pictures/make.py $(ONLY)

clean:
	rm -rf .venv site demo build dist .pytest_cache .ruff_cache .mypy_cache
