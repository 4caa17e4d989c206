# make lab        open JupyterLab at notebook 00
# make test       the whole gate: lint, types, unit and property tests, every notebook
# make test-pythons  the types and the tests of tests/, on each Python of PYTHONS that is installed
# make test-zoo   cut every classification network of torchvision and check it (half an hour)
# make mutants    change one thing at a time on the ground floor: which changes do the tests miss?
#                 an hour or two; MINUTES=20 stops it earlier, the next call goes on
# make course     the release and the key of the assignments, into build/course (course/README.md)
# make grade      SUBMITTED=FOLDER grades what students handed in: marks and pages of feedback
# make test-course  every planted mistake of the assignments, graded (some minutes)
# make site       the notebooks, exercises, equations and docstrings as pages, into build/site
# make slides     a deck for each week of the course, into build/slides
# make explorer   one page that replays the recorded studies of recovery, into build/explorer
# make test-browser  that page, every notebook in real JupyterLab, and what keeps people from reading
#                 the site, the slides and the feedback, in Chromium (an hour)
# make notebooks  write the practice notebooks, execute every notebook top to bottom, in place, and
#                 write the README's table
# make figures    draw the figures of the recorded studies into build/figures
#
# VENV=FOLDER puts everything that is installed or cached there, so that this folder may be read-only.

PYTHON ?= python3
PYTHONS ?= python3.11 python3.12 python3.13
VENV ?= .venv
BIN := $(VENV)/bin
export RUFF_CACHE_DIR := $(VENV)/cache/ruff
export MYPY_CACHE_DIR := $(VENV)/cache/mypy
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TQDM_DISABLE=1

.PHONY: lab test test-package test-pythons test-zoo mutants course grade test-course site slides \
	explorer test-browser notebooks figures

lab: $(VENV)/ready
	$(BIN)/jupyter lab --config=notebooks/jupyter_lab_config.py

test: test-package
	$(ONE_THREAD) $(BIN)/python -m pytest notebooks -p tests.nbval_hardening --nbval-lax \
		--nbval-current-env --nbval-cell-timeout 300 -n 2 --dist loadscope

test-package: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(ONE_THREAD) $(BIN)/python -m pytest tests -n 2 --dist worksteal

# An environment for each of them, in .venv/3.12 and so on: gigabytes. The notebooks are left out.
test-pythons:
	@for python in $(PYTHONS); do \
		version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) \
			|| { echo "$$python is not installed"; continue; }; \
		$(MAKE) test-package PYTHON=$$python VENV=$(VENV)/$$version || exit 1; \
	done

test-zoo: $(VENV)/ready
	WHOLE_ZOO=1 $(ONE_THREAD) $(BIN)/python -m pytest tests/test_surgery_zoo.py

MINUTES ?= 180
mutants: $(VENV)/ready
	$(BIN)/pip install --quiet --editable '.[test,mutants]'
	-$(ONE_THREAD) timeout $(MINUTES)m nice $(BIN)/mutmut run
	PATH=$(BIN):$$PATH python tests/mutants.py

course: $(VENV)/course-ready
	$(ONE_THREAD) $(BIN)/python -m course.build

grade: $(VENV)/course-ready
	@test -d "$(SUBMITTED)" || { echo "Say which folder holds STUDENT/A1_masks/A1_masks.ipynb and so on:" \
		"make grade SUBMITTED=FOLDER"; exit 1; }
	$(ONE_THREAD) $(BIN)/python -m course.grade "$(SUBMITTED)" $(OPTIONS)

test-course: $(VENV)/course-ready
	ALL_MISTAKES=1 $(ONE_THREAD) $(BIN)/python -m pytest tests/test_course.py

site: $(VENV)/site-ready
	$(ONE_THREAD) $(BIN)/python -m prunelab.explorer --to build/explorer
	$(ONE_THREAD) $(BIN)/python -m docs.site

slides: $(VENV)/site-ready
	$(ONE_THREAD) $(BIN)/python -m docs.slides

$(VENV)/course-ready $(VENV)/site-ready: $(VENV)/%-ready: $(VENV)/ready pyproject.toml
	$(BIN)/pip install --quiet --constraint $(VENV)/tested-versions.txt --editable '.[$*]'
	touch $@

explorer: $(VENV)/ready
	$(ONE_THREAD) $(BIN)/python -m prunelab.explorer --to build/explorer

test-browser: $(VENV)/site-ready
	$(BIN)/pip install --quiet --editable '.[test,course,browser]'
	ALL_NOTEBOOKS=1 $(ONE_THREAD) $(BIN)/python -m pytest tests/test_explorer.py tests/browser

notebooks: $(VENV)/ready
	$(BIN)/python -m prunelab.exercises notebooks/exercises
	$(ONE_THREAD) $(BIN)/python notebooks/execute.py
	$(BIN)/python -m prunelab.lab.readme

figures: $(VENV)/ready
	$(BIN)/python -m prunelab figures

$(VENV)/ready: pyproject.toml environment.yml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	sed -n 's/^ *- \([a-z-]*==.*\)/\1/p' environment.yml > $(VENV)/tested-versions.txt
	$(BIN)/pip install --constraint $(VENV)/tested-versions.txt --editable '.[test]'
	touch $@
