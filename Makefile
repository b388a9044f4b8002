# Everything is installed and built in .venv (or .venv-torch-VERSION) and build, which `make clean` removes. The only
# exceptions are Debian's libgtest-dev and doxygen, which `make test` and `make docs` install if they
# are missing and apt-get may be used.

PYTHON ?= python3
TORCH ?= torch==2.13.0
JOBS ?= 2

# Another PyTorch than CI's has an environment and a build of its own.
OTHER := $(if $(filter torch==2.13.0,$(TORCH)),,-$(subst torch==,torch-,$(TORCH)))
VENV := .venv$(OTHER)
BIN := $(CURDIR)/$(VENV)/bin
BUILD := build/tests$(OTHER)
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(shell find csrc python/samepad -type f \( -name '*.cpp' -o -name '*.h' -o -name '*.in' \
	-o -name '*.txt' -o -name '*.cmake' -o -name '*.py' -o -name '*.pyi' \) ! -name _build.py \
	! -path 'python/samepad/lib/*' ! -path 'python/samepad/include/*')

export PATH := $(BIN):$(PATH)
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
ifneq ($(shell command -v ccache),)
export CMAKE_CXX_COMPILER_LAUNCHER := ccache
endif

comma := ,
# Builds target $(3) with the sanitizers $(2) in build/$(1), for debugging: the kernels then assert
# that they stay inside their scratch memory, and instrumented, they would take minutes to optimize.
sanitized = cmake -S . -B build/$(1) -G Ninja -DCMAKE_BUILD_TYPE=Debug -DSAMEPAD_TESTS=ON -DSAMEPAD_SANITIZE=$(2) \
	-DCMAKE_PREFIX_PATH=$$($(BIN)/python -c 'import torch; print(torch.utils.cmake_prefix_path)') \
	&& cmake --build build/$(1) --target $(3)

say = @printf '\n==> %s\n' "$(1)"

# Several instances of pip must not run in one environment at the same time.
.NOTPARALLEL:

.PHONY: help demo test test-cpp test-python lint bench bench-cpp sanitize sanitize-memory docs wheel clean

help:  ## Show what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(STAMPS)/package $(STAMPS)/demo  ## Run the examples: photos, digits, a classifier, a GAN
	$(call say,Classifying photos: examples/classify_photos.py)
	$(BIN)/python examples/classify_photos.py
	$(call say,Training on digits: examples/digits_same_vs_valid.py)
	$(BIN)/python examples/digits_same_vs_valid.py
	$(call say,Training on digits of 28 x 28: examples/digits_same_vs_valid.py --net mnist)
	$(BIN)/python examples/digits_same_vs_valid.py --net mnist --seeds 2 --epochs 4
	$(call say,Training a classifier of photos: examples/image_classifier.py)
	$(BIN)/python examples/image_classifier.py
	$(call say,Training a GAN on an electrocardiogram: examples/gan_bilstm_conv1d.py)
	$(BIN)/python examples/gan_bilstm_conv1d.py

test: test-cpp test-python  ## Build and run the C++ tests (ctest) and the Python tests (pytest)

test-cpp: $(BUILD)/build.ninja
	$(call say,Building the C++ tests)
	cmake --build $(BUILD)
	$(call say,Running the C++ tests)
	ctest --test-dir $(BUILD) --output-on-failure --parallel $(JOBS) --progress

# Several processes share the cores: a thread that waits for another must not spin. The tests of a
# file stay in one process, which thus builds what they share once.
test-python: $(STAMPS)/package $(STAMPS)/demo $(STAMPS)/test
	$(call say,Running the Python tests)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

lint: $(BUILD)/build.ninja $(STAMPS)/package $(STAMPS)/demo $(STAMPS)/lint  ## Check format, types and clang-tidy
	$(call say,Checking all files)
	pre-commit run --all-files --show-diff-on-failure

bench: $(STAMPS)/package $(STAMPS)/demo $(STAMPS)/bench  ## Measure against nn.Conv2d, timm, Keras ...; QUICK=1: in 3 minutes
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

bench-cpp: $(STAMPS)/build  ## Measure the plans and kernels without Python
	$(call say,Building the C++ benchmarks)
	cmake -S . -B build/bench-cpp -G Ninja -DSAMEPAD_BENCHMARKS=ON \
		-DCMAKE_PREFIX_PATH=$$($(BIN)/python -c 'import torch; print(torch.utils.cmake_prefix_path)')
	cmake --build build/bench-cpp
	build/bench-cpp/benchmarks/cpp/samepad_benchmarks --benchmark_enable_random_interleaving=true \
		$(if $(QUICK),--benchmark_min_time=0.02)

# Neither sanitizer sees into LibTorch: what it keeps until the end is no leak of ours, and the
# barriers of its OpenMP look like races.
sanitize: sanitize-memory  ## Run the C++ tests under sanitizers, the threaded ones for races
	$(call say,All C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer)
	$(call sanitized,address,address$(comma)undefined,samepad_tests)
	ASAN_OPTIONS=detect_leaks=0 build/address/tests/cpp/samepad_tests
	$(call say,Threaded C++ tests under ThreadSanitizer)
	$(call sanitized,thread,thread,samepad_tests)
	TSAN_OPTIONS=suppressions=tests/cpp/tsan.supp \
		build/thread/tests/cpp/samepad_tests --gtest_filter='Threads*'

# Without a capability the kernels are those for the widest vectors of this CPU.
sanitize-memory: $(STAMPS)/build $(STAMPS)/gtest  ## Run the kernels and extreme arguments alone under sanitizers
	$(call say,Kernels and extreme arguments under AddressSanitizer and UndefinedBehaviorSanitizer)
	$(call sanitized,address,address$(comma)undefined,samepad_memory_tests)
	for capability in default avx2 ""; do \
		env $${capability:+ATEN_CPU_CAPABILITY=$$capability} ASAN_OPTIONS=detect_leaks=0 SAMEPAD_KERNEL_CASES=$(or $(CASES),20) \
			build/address/tests/cpp/samepad_memory_tests --gtest_brief=1 || exit 1; \
	done
	for isa in AVX512_CORE_BF16 AVX512_CORE; do \
		env ONEDNN_MAX_CPU_ISA=$$isa ASAN_OPTIONS=detect_leaks=0 SAMEPAD_KERNEL_CASES=$(or $(CASES),20) \
			build/address/tests/cpp/samepad_memory_tests --gtest_brief=1 \
			--gtest_filter='*dense_BFloat16*' || exit 1; \
	done

# Doxygen reads the C++ headers, Sphinx everything else and what Doxygen wrote. All warnings of both
# are errors, links that lead nowhere among them.
docs: $(STAMPS)/package $(STAMPS)/docs $(STAMPS)/doxygen  ## Build the manual: build/docs/html/index.html
	$(call say,Building the manual)
	@mkdir -p build/docs
	doxygen docs/Doxyfile
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs/html

# The libraries that a wheel must not bring along are PyTorch's, and the OpenMP that PyTorch loads.
wheel: $(STAMPS)/package $(STAMPS)/wheel  ## Build a wheel for other machines: dist/*.whl
	$(call say,Building the wheel)
	rm -rf build/wheel$(OTHER)
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel$(OTHER) .
	$(BIN)/python -m auditwheel repair --strip --wheel-dir dist \
		--exclude 'libtorch*' --exclude 'libc10*' --exclude 'libgomp*' build/wheel$(OTHER)/*.whl

clean:  ## Remove what was built
	rm -rf .venv .venv-torch-* build dist demo-output docs/generated python/samepad.egg-info

$(VENV)/bin/python:
	$(call say,Making a virtual environment in $(VENV))
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'

$(STAMPS)/torch: | $(VENV)/bin/python
	$(call say,Installing $(TORCH))
	$(PIP) install --quiet $(TORCH)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: pyproject.toml $(STAMPS)/torch
	$(PIP) install --quiet --group build
	@touch $@

$(STAMPS)/package: $(STAMPS)/build $(SOURCES) CMakeLists.txt setup.py pyproject.toml
	$(call say,Building and installing samepad: about two minutes the first time)
	$(PIP) install --quiet --no-deps --no-build-isolation .
	@touch $@

$(STAMPS)/demo: pyproject.toml $(STAMPS)/torch
	$(call say,Installing what the examples need)
	$(PIP) install --quiet --group demo
	$(PIP) install --quiet --no-deps --group peers
	@touch $@

$(STAMPS)/test: pyproject.toml $(STAMPS)/torch
	$(call say,Installing TensorFlow + JAX + ONNX Runtime to compare with (timm does without the torchvision that pip misses))
	$(PIP) install --quiet --group test
	@touch $@

$(STAMPS)/bench: pyproject.toml $(STAMPS)/torch
	$(call say,Installing what samepad is measured against)
	$(PIP) install --quiet --group bench
	@touch $@

$(STAMPS)/lint: pyproject.toml $(STAMPS)/torch
	$(call say,Installing the linters)
	$(PIP) install --quiet --group lint
	@touch $@

$(STAMPS)/docs: pyproject.toml $(STAMPS)/torch
	$(call say,Installing what builds the manual)
	$(PIP) install --quiet --group docs
	@touch $@

$(STAMPS)/wheel: pyproject.toml $(STAMPS)/torch
	$(call say,Installing auditwheel)
	$(PIP) install --quiet --group wheel
	@touch $@

$(STAMPS)/doxygen: | $(STAMPS)/torch
	@if command -v doxygen >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		printf '\n==> Installing Doxygen\n'; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends doxygen >/dev/null; \
	else \
		echo 'Doxygen is missing: install it (sudo apt-get install doxygen).'; exit 1; \
	fi
	@touch $@

$(STAMPS)/gtest: | $(STAMPS)/torch
	@if [ -e /usr/include/gtest/gtest.h ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		printf '\n==> Installing GoogleTest: libgtest-dev\n'; \
		(apt-get update -qq && apt-get install -y -qq libgtest-dev >/dev/null) \
			|| echo 'That failed; CMake will fetch its sources.'; \
	else \
		echo 'GoogleTest is missing: install it (sudo apt-get install libgtest-dev), or'; \
		echo 'CMake will fetch its sources.'; \
	fi
	@touch $@

$(BUILD)/build.ninja: $(shell git ls-files '*CMakeLists.txt') $(STAMPS)/build $(STAMPS)/gtest
	$(call say,Configuring the C++ build)
	cmake -S . -B $(BUILD) -G Ninja -DSAMEPAD_TESTS=ON -DSAMEPAD_WERROR=ON \
		-DSAMEPAD_PYTHON=ON -DPython_EXECUTABLE=$(BIN)/python \
		-DCMAKE_PREFIX_PATH=$$($(BIN)/python -c 'import torch; print(torch.utils.cmake_prefix_path)')
