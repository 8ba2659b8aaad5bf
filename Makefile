# Everything one does with this project. `make` alone lists the targets; options are at the end of that list.
# PYTHON names the Python that .venv is made with; left out, it is the one .venv has, or python3 the first time.

PORT ?= 8000
JOBS ?= 2
VENV := .venv
COLAB := .venv-colab
BIN := $(VENV)/bin
SITE := _build/html

# On Linux, PyTorch's CPU builds are some gigabytes smaller than the ones on the usual index. Offered beside it,
# 2.13.0+cpu satisfies torch==2.13.0 and pip prefers it: a local version counts as newer. Only the value 1 counts,
# since some systems set CPU to the name of the processor.
ifeq ($(CPU),1)
EXTRA_INDEX := https://download.pytorch.org/whl/cpu
endif

# Chapters must come out the same with no corpora at hand. One worker a notebook: its cells share a kernel.
NBVAL = env -u AWDLIB_DATA $(BIN)/python -m pytest book --nbval --nbval-current-env \
	--nbval-sanitize-with tests/nbval_sanitize.cfg -n $(JOBS) --dist loadfile

# With other versions than those that the outputs were stored with, a chapter must run, and need not print the same.
NBVAL_LAX = env -u AWDLIB_DATA $(COLAB)/bin/python -Xfrozen_modules=off -m pytest book --nbval-lax --nbval-current-env \
	-n $(JOBS) --dist loadfile

# What the tests reach, of all modules; then, in per cent, of those that must reach the limit. The others (pictures,
# widgets, the command line) are looked at in other ways as well.
COVERAGE = $(BIN)/coverage report && printf 'per cent outside cli, figures and explore (at least 95): ' && \
	$(BIN)/coverage report --format=total --fail-under=95 --omit='*/cli/*,*/figures/*,*/explore/*,*/__main__.py'

.DEFAULT_GOAL := help
.PHONY: help env book slides test test-fast test-colab coverage bench assignments test-assignments otter lab serve refresh lint format clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  options: CPU=1 (PyTorch without CUDA, on Linux)  PYTHON=python3.12  PORT=8000 (serve)  JOBS=2 (tests)"
	@echo "           LAB_OPTIONS=--allow-root (lab: what JupyterLab is given as well, here in a container)"
	@echo "           CHAPTER=gru (refresh, assignments, test-assignments: this chapter alone)"

env:
	@sh .ci/install "$(PYTHON)" "$(VENV)" "$(EXTRA_INDEX)"

book: env  ## install what is needed into .venv and build the book; any warning is an error
	@$(BIN)/jupyter-book build . -W -n --keep-going
	@$(BIN)/python -c 'import pathlib; print("\nThe book is ready. Open", pathlib.Path("$(SITE)/index.html").resolve().as_uri())'

slides: book  ## build the slides of every chapter, beside the book
	@$(BIN)/python -c 'import pathlib; print("The slides are ready. Open", pathlib.Path("$(SITE)/slides/index.html").resolve().as_uri())'

test: book  ## run everything: unit and browser tests, then every chapter against its stored outputs
	@failed=0; \
	$(BIN)/python -m pytest tests -n $(JOBS) --dist loadfile --cov --cov-report= || failed=1; \
	$(COVERAGE) || failed=1; \
	$(NBVAL) || failed=1; \
	exit $$failed

test-fast: env  ## run the unit tests that need neither a browser nor much time
	@$(BIN)/python -m pytest tests -m "not slow and not browser" -n $(JOBS) --dist loadfile

test-colab:  ## run every chapter, and the tests of figures, with the versions of packages that Google Colab has
	@sh .ci/install "$(PYTHON)" "$(COLAB)" "$(EXTRA_INDEX)" .ci/colab.txt
	@$(NBVAL_LAX)
	@$(COLAB)/bin/python -m pytest tests/test_explore.py tests/test_figures_*.py tests/test_chapters.py -n $(JOBS) --dist loadfile

coverage: env  ## show which lines of the library the unit tests reach
	@$(BIN)/python -m pytest tests -m "not slow and not browser" -n $(JOBS) --dist loadfile --cov --cov-report=
	@$(COVERAGE)

# fastai is one of those compared, and nothing else needs it; torch and the rest stay as they are pinned.
bench: env  ## measure the library's speed beside others; an interrupted run goes on where it was
	@$(BIN)/python -m pip install --quiet --constraint requirements.txt $(addprefix --extra-index-url ,$(EXTRA_INDEX)) \
		--no-build-isolation --editable '.[bench]'
	@$(BIN)/python tests/benchmarks

# The grader, at the version with which every known wrong answer was graded; what is pinned stays as it is.
assignments: otter  ## make assignments of the exercises: for students, for instructors, and for the grader
	@$(BIN)/python book/_tools/assignments.py $(CHAPTER)

test-assignments: otter  ## make them, and grade the solutions, empty sheets and known wrong answers
	@$(BIN)/python book/_tools/assignments.py --prove $(CHAPTER)

otter: env
	@$(BIN)/python -m pip install --quiet --constraint requirements.txt otter-grader==7.0.0

lab: env  ## open the chapters in JupyterLab
	@$(BIN)/python -m jupyterlab book $(LAB_OPTIONS)

serve: book  ## build the book and serve it on this machine (PORT=8000)
	@echo "The book is at http://127.0.0.1:$(PORT)/ until you press Ctrl-C."
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(SITE)

refresh: env  ## run the chapters again and store their outputs
	@$(BIN)/python book/_tools/refresh.py $(CHAPTER)
	@$(BIN)/python book/_tools/teaching.py
	@$(BIN)/python book/_tools/classroom.py

lint: env  ## check style and types: ruff over modules and notebooks, mypy over the library
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: env  ## mend what ruff can mend
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:  ## remove what was built, and keep .venv
	@rm -rf _build build dist .pytest_cache .ruff_cache .hypothesis .coverage

distclean: clean  ## remove what was built, .venv and .venv-colab
	@rm -rf $(VENV) $(COLAB)
