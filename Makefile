# Two commands matter: `make run` does the main job, `make test` proves the code.
# Both set up what they need first; neither needs the other, nor a network once set up.

BIN := .venv/bin

.PHONY: run test faults setup reference lock clean

run: setup
	$(BIN)/fabrika run home/mug-to-shelf-v1

test: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist worksteal

# Full disks, kills and power cuts, as far as before a release: 40 minutes.
faults: setup
	$(BIN)/pytest tests/faults --tier release -n 2 --dist worksteal

setup:
	@scripts/setup.sh

# docs/reference, from the code; `make test` fails while it is out of date.
reference: setup
	$(BIN)/python scripts/make_reference.py

# requirements.lock, from pyproject.toml and requirements.in.
lock: setup
	scripts/lock.sh

# What is made from the sources. Never runs/: those are yours.
clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
