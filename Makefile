# Two commands on a fresh machine with Python 3.11 or newer, git and make:
#   make book   builds the book (no torch needed)
#   make test   runs every test, every notebook among them
# `make help` lists the rest.

PYTHON ?= python3
# make test TORCH_INDEX=<url> takes torch from that index, a CPU-only one, say.
TORCH_INDEX ?=
PORT ?= 8000

VENV := .venv
BOOK_VENV := .venv-book
BENCH_VENV := .venv-bench
BIN := $(VENV)/bin
HTML := _build/html

.DEFAULT_GOAL := help
.PHONY: help book pdf test bench lint notebooks handout mark lab serve lock clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BOOK_VENV)/.installed: requirements-book.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name one with make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(BOOK_VENV)
	$(BOOK_VENV)/bin/python -m pip install --quiet --no-deps --disable-pip-version-check -r requirements-book.lock
	@touch $@

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; name one with make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# What a second build may keep of the first one: _ext/incremental_build.py.
book: $(BOOK_VENV)/.installed ## build the book from the stored outputs
	@$(BOOK_VENV)/bin/jupyter-book build . -W --keep-going --quiet
	@echo "The book is built. Open file://$(CURDIR)/$(HTML)/index.html"

pdf: book $(VENV)/.installed ## print the whole book as one PDF, with a browser
	@$(BIN)/python tools/pdf.py $(HTML) _build/resnet-18-inside-out.pdf

lint: $(VENV)/.installed ## check the style of code and workflow files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

test: lint ## run lint, tests, every notebook, the book and its pages
	$(BIN)/python -m pytest --nbval --ignore=tests/site
	$(MAKE) book
	BOOK_HTML=$(CURDIR)/$(HTML) $(BIN)/python -m pytest tests/site

# The peers' environment reads torch and the rest from the course's: one copy on disk.
$(BENCH_VENV)/.installed: $(VENV)/.installed benchmarks/requirements.txt
	$(BIN)/python -m venv --clear $(BENCH_VENV)
	$(BIN)/python -c 'import site; print(f"import site; site.addsitedir({site.getsitepackages()[0]!r})")' > $$($(BENCH_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/course.pth
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

bench: $(BENCH_VENV)/.installed ## compare the course's speed with its peers'
	$(BENCH_VENV)/bin/python -m benchmarks --out course_book/results/bench.csv
	$(BIN)/python tools/readme.py

notebooks: $(VENV)/.installed ## execute every notebook in place and normalize it
	$(BIN)/python tools/notebooks.py
	$(BIN)/python tools/readme.py

handout: $(VENV)/.installed ## write the exercises without solutions into handout/
	$(BIN)/python tools/handout.py

mark: $(VENV)/.installed ## mark a folder of exercises handed in (HANDINS=folder)
	$(BIN)/python tools/mark.py $(HANDINS)

lab: $(VENV)/.installed ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab chapters

serve: book ## serve the built book on this machine (PORT=8000)
	$(BOOK_VENV)/bin/python -m http.server $(PORT) --bind 127.0.0.1 --directory $(HTML)

lock: $(VENV)/.installed ## renew requirements.lock from requirements.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python tools/lock.py

clean: ## remove what make made, the environments too
	rm -rf _build $(VENV) $(BOOK_VENV) $(BENCH_VENV) *.egg-info .pytest_cache .ruff_cache .hypothesis
