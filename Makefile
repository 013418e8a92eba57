# Two commands do all set-up on a machine with Python 3.11 or newer, pip and make.
#   make demo    see facetell work, on drawn faces, with no download
#   make test    every check: format, lint, types, layers, tests
#   make quick   the same without the tests that learn or take long
#   make site    the docs as a site, in site/index.html; its notebooks are run
#   make man     the page for man, site/man/facetell.1
#   make again   the tests of what was learned, as a processor with AVX2 and two threads computes it

UV := $(shell command -v uv || echo .uv/bin/uv)
RUN := $(UV) run --frozen --all-extras

# The tests begin some two hundred processes; each would compile torch and all else anew where this is set.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo checks test quick site man again setup format

demo: setup
	$(RUN) facetell demo -o demo

checks: setup
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	$(RUN) lint-imports

test: checks
	OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --dist worksteal

quick: checks
	OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --dist worksteal -m "not slow and not fits"

site: setup
	$(RUN) sphinx-build -W --keep-going -q docs site

man: setup
	$(RUN) sphinx-build -W --keep-going -q -D nb_execution_mode=off -b man docs site/man

again: setup
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2 $(RUN) pytest -m fits

setup:
	@test -x "$(UV)" || python3 -m pip install --quiet --target .uv uv
	@$(UV) sync --quiet --frozen --all-extras

format:
	$(RUN) ruff check --fix
	$(RUN) ruff format
