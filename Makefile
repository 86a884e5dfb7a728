# What can be done here; `make help` lists it.

CARGO ?= cargo
TARGET ?= $(or $(CARGO_TARGET_DIR),target)
CFLAGS ?= -O1 -g
# What `make dist` packs.
PLATFORMS ?= linux-x64
# Each runs tests/LANGUAGE.sh, where there is one.
LANGUAGES ?= cpp go node python

DEBUG := $(TARGET)/debug
# One example reads JSON, and needs cJSON for it.
CJSON := $(shell pkg-config --libs libcjson 2>/dev/null)
C_EXAMPLES := $(patsubst %.c,out/%,$(filter-out $(if $(CJSON),,examples/c/tools.c),$(wildcard examples/c/*.c)))

.PHONY: fuzz features release help needs build examples demo test check bench bench-python soak collector dist dist-test install uninstall clean
.DELETE_ON_ERROR:

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' $(MAKEFILE_LIST) | awk -F '  ' '{ printf "%-10s %s\n", $$1, $$2 }'

# Before anything is compiled: what the chosen languages need.
needs:
	@tests/needs.sh $(LANGUAGES)

build: needs ## the library and the sandbox, for development
	$(CARGO) build --workspace
	ln -sf librevenium.so $(DEBUG)/librevenium.so.1

examples: $(C_EXAMPLES) ## the example programs, into out/examples

demo: examples ## run the examples against the sandbox, show what was metered, and picture its page in out/demo.png
	LANGUAGES="$(LANGUAGES)" tests/demo.sh

test: needs check features build examples ## everything
	$(CARGO) test --workspace
	tests/c/run.sh
	tests/spool.sh
	tests/replies.sh
	tests/bedrock.sh
	tests/page.sh
	tests/platform.sh
	tests/otel.sh
	LANGUAGES="$(LANGUAGES)" tests/demo.sh
	tests/install.sh
	tests/dist.sh
	set -e; for language in $(LANGUAGES); do \
	    if [ -e tests/$$language.sh ]; then tests/$$language.sh; fi; done

check: ## format, lints and the fast tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace --lib
	tools/third_party.py --check
	tools/versions.py

# cargo optimises no library as a whole (lto) that is one for Rust as well: for use it is made for others alone. A fifth
# smaller and quicker by that.
FOR_OTHERS = rustc --package revenium --lib --crate-type cdylib,staticlib

release: ## the library and the command for use, optimised as a whole: target/release
	$(CARGO) build --release --package revenium-command --package sandbox
	$(CARGO) $(FOR_OTHERS) --release

bench: ## what the library costs, inside and beside bare clients (ROUNDS=3 SCALE=1)
	rm -rf $(TARGET)/criterion
	$(CARGO) bench --bench inner -- --quiet
	$(CARGO) build --release -p sandbox -p bare-hyper
	$(CARGO) $(FOR_OTHERS) --release --no-default-features
	@mkdir -p out/bench
	cp $(TARGET)/release/librevenium.so out/bench/without-bedrock.so
	$(CARGO) $(FOR_OTHERS) --release
	python3 -B benches/side_by_side/run.py

fuzz: ## each target of fuzz/ for a while (FUZZ_SECONDS=60, TARGETS=...; installs cargo-fuzz into out/tools)
	@[ -x out/tools/bin/cargo-fuzz ] || $(CARGO) install --quiet --locked --root out/tools cargo-fuzz
	set -e; for target in $(or $(TARGETS),$(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))); do \
	    RUSTC_BOOTSTRAP=1 PATH="$(abspath out/tools/bin):$$PATH" $(CARGO) fuzz run $$target -- \
	        -max_total_time=$(or $(FUZZ_SECONDS),60) -max_len=4096 -verbosity=0 -print_final_stats=1; done

features: ## a build without each feature, and the documentation of all parts
	$(CARGO) clippy --package revenium --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --package revenium --no-deps --document-private-items

soak: build ## what gets lost when thousands of processes are killed at random (SOAK_ROUNDS=5000)
	SOAK_ROUNDS=$(or $(SOAK_ROUNDS),5000) tests/spool.sh many_processes_killed_at_random

bench-python: ## what metering adds to the official SDK in Python, beside Revenium's own SDK (ROUNDS=3 SCALE=1)
	$(CARGO) build --release -p sandbox
	$(CARGO) $(FOR_OTHERS) --release
	python3 -B benches/python/run.py

collector: ## a real OpenTelemetry Collector for tests/otel.sh (needs Go, minutes, and 3 GB for its caches)
	@mkdir -p out
	cd tests/collector && CGO_ENABLED=0 go build -mod=mod -o $(abspath out)/otelcol .

dist: ## the packages, into dist/ (PLATFORMS="linux-x64"); tools/dist/dist says what they are and what they need
	tools/dist/dist $(PLATFORMS)

dist-test: build ## makes the packages of a release and uses each as users do (PROFILE=dev for a quick build)
	PROFILE=$(or $(PROFILE),release) tests/dist.sh
	PROFILE=$(or $(PROFILE),release) tests/platforms.sh

clean: ## remove what was built
	$(CARGO) clean
	rm -rf out dist

out/examples/c/%: examples/c/%.c examples/c/example.h include/revenium.h | build
	@mkdir -p $(@D)
	$(CC) -std=c99 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -pedantic -Werror $(CFLAGS) -Iinclude $< -o $@ \
	    -L$(DEBUG) -lrevenium -Wl,-rpath,$(abspath $(DEBUG)) -pthread $(LDLIBS)

out/examples/c/tools: LDLIBS = $(CJSON)

# install, uninstall
include bindings/c/install.mk
