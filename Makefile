# make lab        open JupyterLab at notebook 00
# make test       the whole gate: lint, types, unit and property tests, every notebook
# make test-zoo   cut every classification network of torchvision and check it (half an hour)
# make mutants    change one thing at a time on the ground floor: which changes do the tests miss?
#                 an hour or two; MINUTES=20 stops it earlier, the next call goes on
# make notebooks  execute every notebook top to bottom, in place
# make figures    draw the figures of the recorded studies into build/figures

PYTHON ?= python3
BIN := .venv/bin
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TQDM_DISABLE=1

.PHONY: lab test test-zoo mutants notebooks figures

lab: .venv/ready
	$(BIN)/jupyter lab --config=notebooks/jupyter_lab_config.py

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(ONE_THREAD) $(BIN)/python -m pytest tests -n 2 --dist worksteal
	$(ONE_THREAD) $(BIN)/python -m pytest notebooks -p tests.nbval_hardening --nbval-lax \
		--nbval-current-env --nbval-cell-timeout 300 -n 2 --dist loadscope

test-zoo: .venv/ready
	WHOLE_ZOO=1 $(ONE_THREAD) $(BIN)/python -m pytest tests/test_surgery_zoo.py

MINUTES ?= 180
mutants: .venv/ready
	$(BIN)/pip install --quiet --editable '.[test,mutants]'
	-$(ONE_THREAD) timeout $(MINUTES)m nice $(BIN)/mutmut run
	PATH=$(BIN):$$PATH python tests/mutants.py

notebooks: .venv/ready
	$(ONE_THREAD) $(BIN)/python notebooks/execute.py

figures: .venv/ready
	$(BIN)/python -m prunelab figures

.venv/ready: pyproject.toml environment.yml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	sed -n 's/^ *- \([a-z-]*==.*\)/\1/p' environment.yml > .venv/tested-versions.txt
	$(BIN)/pip install --constraint .venv/tested-versions.txt --editable '.[test]'
	touch $@
