# make setup   a virtual environment in .venv with everything that development needs
# make check   lint, formatting and types
# make test    the tests
# make test-slow   the slow tests, which CI runs too
# make docs    what is generated in the documents: docs/cli.md, the README's file map

VENV ?= .venv
BASE_PYTHON ?= python3
# The virtual environment's Python where there is one, else whichever is on the path.
PYTHON ?= $(if $(wildcard $(VENV)/bin/python),$(VENV)/bin/python,$(BASE_PYTHON))

.PHONY: setup check format test test-slow docs

setup:
	test -x $(VENV)/bin/python || $(BASE_PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[train,ray,dev]'

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

# One process for each core; the tests of a file stay together, and so do the models that they share.  Files in
# their own order: by their numbers of tests those of few and long tests would come last, on one core.
test:
	$(PYTHON) -m pytest -m "not slow" -n logical --dist loadscope --no-loadscope-reorder

test-slow:
	$(PYTHON) -m pytest -m slow

docs:
	$(PYTHON) docs/make.py
