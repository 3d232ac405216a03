# Everything a newcomer needs: `make sweep` and `make test` set themselves up.
PYTHON ?= python3
BIN := .venv/bin
# Without bytecode every worker pays seconds for its imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: sweep test test-heavy test-cluster test-image test-compose smoke check install format lock clean

sweep: .venv/.runtime  ## run the demonstration sweep, end to end
	$(BIN)/sweeps run sweeps/configs/digits.yaml

test: .venv/.dev  ## run the tests
	$(BIN)/python -m pytest

test-image: .venv/.server  ## build the image without an engine; MLflow on PostgreSQL (as root)
	bash docker/test_image.sh
	$(BIN)/python benchmarks/postgres.py

test-compose: .venv/.runtime  ## start docker/compose.yaml on a Docker engine of its own (as root)
	bash docker/test_compose.sh

test-heavy: .venv/.dev  ## the longer proofs: a store, a full disk, a lost node, shared GPUs, compiled trials
	$(BIN)/python -m pytest -m heavy

test-cluster: .venv/.runtime  ## a cluster of three test hosts, killed and resumed; root, openssh-server, rsync
	$(BIN)/python benchmarks/cluster/proof.py

smoke: .venv/.runtime  ## try every published experiment, each in under a minute
	$(BIN)/python benchmarks/smoke.py

check: .venv/.dev  ## format, lint, types, import boundaries
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

install: .venv/.runtime  ## set up .venv alone

format: .venv/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/bin/uv  ## compile the locked requirements anew
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-emit-index-url pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-emit-index-url --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --no-header --no-emit-index-url --extra server -c requirements.lock pyproject.toml -o requirements-server.lock

clean:
	rm -rf .venv

.venv/bin/uv:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}. Set PYTHON=python3.12, say.")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q uv

.venv/.runtime: requirements.lock pyproject.toml | .venv/bin/uv
	$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps -e .
	$(BIN)/python -c 'import matplotlib.font_manager'  # builds its font cache once
	touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode -r requirements-dev.lock
	touch $@

.venv/.server: requirements-server.lock .venv/.runtime
	$(BIN)/uv pip install -q --python $(BIN)/python --compile-bytecode -r requirements-server.lock
	touch $@
