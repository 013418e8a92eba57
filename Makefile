# Two commands do all set-up on a machine with Python 3.11 or newer, pip and make.
#   make demo    see facetell work, on drawn faces, with no download
#   make test    every check: format, lint, types, layers, tests

UV := $(shell command -v uv || echo .uv/bin/uv)
RUN := $(UV) run --frozen --all-extras

.PHONY: demo test setup format

demo: setup
	$(RUN) facetell demo -o demo

test: setup
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	$(RUN) lint-imports
	OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --dist worksteal

setup:
	@test -x "$(UV)" || python3 -m pip install --quiet --target .uv uv
	@$(UV) sync --quiet --frozen --all-extras

format:
	$(RUN) ruff check --fix
	$(RUN) ruff format
