# The commands of clnb; `make` lists them. Every one makes the environment first, where that is not yet done.
.DEFAULT_GOAL := help
RUN := .venv/bin/python
LESSON ?= 10_simclr
NOTEBOOKS := nbs tests bench tools

help:  ## this list
	@echo "clnb: see contrastive learning happen. The commands:"
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 20

env:  ## make the environment .venv (PYTHON=python3.12 chooses the Python)
	@for python in "$$PYTHON" python3 python3.13 python3.12 python3.11 python3.14; do \
	  if [ -n "$$python" ] && command -v "$$python" >/dev/null 2>&1 && "$$python" -c "import ssl, sys; sys.exit(sys.version_info[0] < 3)" >/dev/null 2>&1; then \
	    exec "$$python" tools/environment.py; fi; done; \
	echo "No Python found. Install Python 3.11 or newer (python.org, or: sudo apt-get install python3 python3-venv)" \
	  "and run the command again." >&2; exit 1

lab: env  ## open JupyterLab on a lesson (LESSON=10_simclr, PORT=8888)
	@$(RUN) tools/lab.py $(LESSON)

test: env browser  ## every test: notebooks, checks, tests, browser
	@$(RUN) tools/test.py $(ARGS)

browser: env  ## install Chromium for the browser tests, if there is none
	@$(RUN) tools/chromium.py --install

check: env  ## do modules, cleaned notebooks and README agree with the notebooks?
	@$(RUN) tools/check.py

prepare: env  ## export the modules, clean the notebooks, write the README
	@$(RUN) tools/check.py --write

style: env  ## ruff over notebooks, tests, benchmarks and tools
	@$(RUN) -m ruff check $(wildcard $(NOTEBOOKS))

notebooks: env  ## execute notebooks and save them with their outputs (ONLY=10_simclr)
	@$(RUN) tools/execute.py $(ONLY)

claims: env  ## evaluate every claim and write nbs/claims.json (ONLY=10_simclr, CLNB_SCALE=teach)
	@$(RUN) tools/claims.py $(ONLY)

site: env  ## the notebooks as pages that work without a kernel, in _site/ (ONLY=10_simclr)
	@$(RUN) tools/site.py $(ONLY)

bench: env  ## compare with peers, in an environment of its own (BENCH=augment, ARGS="--scale smoke")
	@$(RUN) tools/bench.py $(BENCH) $(ARGS)

clean:  ## remove what was made, but not the environment
	@rm -rf _site pictures build dist .pytest_cache .ruff_cache .hypothesis clnb.egg-info runs nbs/runs
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
	@echo "Removed pages, pictures and caches; the environment is still there (rm -rf .venv removes it)."

.PHONY: help env lab test browser check prepare style notebooks claims site bench clean
