# What a person or CI does with a clone. Everything lives in .venv; nothing outside the clone is changed.
# The lock pins every package with its hashes, for Python 3.11; `make lock` makes it anew from pyproject.toml.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

# The first interpreter that really is 3.11 (a version manager's stand-in may exist and still refuse to run).
FIND_PYTHON = for p in $(PYTHON) python3.11 python3 python; do \
	  $$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$p && break; done

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench bench-report bench-failover bench-rescale bench-warm bench-herd bench-http bench-fast bench-scale bench-near bench-hits sim lock clean distclean
# The steps share .venv and two cores: in parallel they would only disturb each other.
.NOTPARALLEL:

help:  ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Prepare .venv: locked dependencies, raycache itself, compiled bytecode

# PYTHONDONTWRITEBYTECODE may be set: without bytecode every Ray worker compiles Ray's sources, which makes
# starting Ray and each actor two to three times as slow. So the bytecode is written here, once.
$(STAMP): requirements.lock pyproject.toml
	@python=$$($(FIND_PYTHON)); \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
	  if [ -z "$$python" ]; then echo "raycache needs Python 3.11: install it, or say where it is: make setup PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	  echo "Making $(VENV) with $$python"; \
	  $$python -m venv --clear $(VENV) || { echo "python -m venv failed: on Debian, install python3-venv" >&2; exit 1; }; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@# A few packages carry templates or sources for other Pythons that do not compile; nobody imports them.
	@$(BIN)/python -m compileall -q -j 0 $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') >/dev/null 2>&1 || true
	@touch $@

demo: setup  ## Run the main job: Ray tasks reading a real database through the cache (ARGS="--seconds 30 --shards 4")
	$(BIN)/raycache demo $(ARGS)

# All of them run in several processes (tests/lanes.py), some in the one that asks for them. Without bytecode each
# process would rewrite the assertions of all tests anew, at ten seconds apiece.
test: setup  ## Run every test, or some: ARGS="tests/unit -x" (WORKERS=0: in one process)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(or $(WORKERS),$(if $(ARGS),0,3)) $(ARGS)

sim: setup  ## Simulate whole clusters under trouble, one a seed (SEEDS=100000 FIRST=0 ARGS="--mode quorum")
	$(BIN)/python -m raycache.testing.simulation --seeds $(or $(SEEDS),2000) --first $(or $(FIRST),0) $(ARGS)

check: setup  ## Lint and type-check
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup  ## Run the benchmarks against real servers, everything side by side (ARGS="--quick", "--only figures")
	$(BIN)/python -m benchmarks.bench $(ARGS)

bench-report: setup  ## Make tables and plots of the last `make bench` (ARGS="--to docs/benchmarks.md")
	$(BIN)/python -m benchmarks.report $(ARGS)

bench-failover: setup  ## Measure what losing a shard, a machine, the router or Ray's GCS costs (ARGS="--only kill")
	$(BIN)/python -m benchmarks.failover $(ARGS)

bench-rescale: setup  ## Measure what scaling and a second copy cost (ARGS="--only scale")
	$(BIN)/python -m benchmarks.rescale $(ARGS)

bench-warm: setup  ## Measure what warming costs the database's other clients (ARGS="--quick")
	$(BIN)/python -m benchmarks.warm $(ARGS)

bench-herd: setup  ## Measure loading through the cache beside what people use today (ARGS="--only stampede")
	$(BIN)/python -m benchmarks.herd $(ARGS)

bench-http: setup  ## Measure the HTTP door beside a bare Serve endpoint and webdis (ARGS="--quick")
	$(BIN)/python -m benchmarks.http $(ARGS)

bench-fast: setup  ## Measure speed and memory an entry beside Redis 7 and the bare loopback (ARGS="--only memory")
	$(BIN)/python -m benchmarks.fast $(ARGS)

bench-scale: setup  ## Measure and simulate what a node costs at 10, 100 and 1,000 nodes (ARGS="--quick")
	$(BIN)/python -m benchmarks.scale $(ARGS)

bench-near: setup  ## Measure reads that the process answers itself (ARGS="--quick")
	$(BIN)/python -m benchmarks.bench --only near $(ARGS)

bench-hits: setup  ## Measure hits on recorded traces, the miss-ratio curve and what it costs (ARGS="--only curve")
	$(BIN)/python -m benchmarks.hits $(ARGS)

# The tool lives in a venv of its own, so that it is not part of what it pins. Local package folders named in the
# environment must not reach the lock: it has to work on another machine.
lock: pyproject.toml  ## Make requirements.lock anew (UPGRADE=1: with the newest versions)
	@python=$$($(FIND_PYTHON)); test -x build/lock/bin/pip-compile || { $$python -m venv --clear build/lock && build/lock/bin/pip install --quiet pip-tools; }
	env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL -u PIP_INDEX_URL PIP_CONFIG_FILE=/dev/null CUSTOM_COMPILE_COMMAND="make lock" \
	  build/lock/bin/pip-compile --quiet $(if $(UPGRADE),--upgrade) --generate-hashes --strip-extras --no-annotate \
	  --extra demo --extra stores --extra plots --extra arrow --extra dev --build-deps-for editable --unsafe-package raycache --no-allow-unsafe \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
	@# raycache itself is not pinned, and need not be: it is installed from the clone.
	@sed -i -e '/^# WARNING/,$$d' requirements.lock
	@if grep -nE '://|^-|@ file' requirements.lock; then echo "requirements.lock names a host or a path: see above" >&2; exit 1; fi

clean:  ## Remove caches and build results
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis benchmarks/out
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean  ## Remove .venv too
	rm -rf $(VENV)
