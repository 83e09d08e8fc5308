# All set-up is done by the targets: `make demo` and `make test` start from a bare Debian 12
# with Rust, Go, JDK 17 and Node 20. What they fetch or build is kept in one cache folder.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tidemill
BIN := target/release
CARGO := cargo --locked
PACKAGES := clang cmake libcurl4-openssl-dev libssl-dev maven pkg-config redis-server
TEST_PACKAGES := $(PACKAGES) autoconf automake chromium e2fsprogs g++ libtool make python3-venv
CLUSTER_PACKAGES := conntrack containerd containernetworking-plugins etcd-server iproute2 iptables mount runc

.PHONY: help setup setup-test target build demo test faults lint fmt deny generate check-generated fuzz bench images testbed-up testbed-down

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

demo: build ## Run the market example on this machine: news and prices into a live page
	exec $(BIN)/tidemill up examples/market

test: setup-test build ## Run every test against real Kafka, Redis, S3 and Chromium
	./scripts/test.sh

faults: setup-test build ## Break things on three brokers for MINUTES=30, as SEED=… says, and count what is lost or repeated
	$(BIN)/faults --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

build: setup target ## Build all programs
	@echo "build: the first time takes about ten minutes on two cores; later ones are short, and that of a new clone takes about six"
	$(CARGO) build --release --workspace

setup: ## Install the Debian packages that building and running need
	@./scripts/packages.sh $(PACKAGES)

setup-test: ## Install the Debian packages that testing needs
	@./scripts/packages.sh $(TEST_PACKAGES) $(CLUSTER_PACKAGES)

# Build results live in the cache, so that a fresh clone begins warm.
target:
	@mkdir -p $(CACHE)/target
	@[ -e target ] || ln -s $(CACHE)/target target

lint: setup target fmt deny check-generated ## Formatting, clippy, licences, generated files
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings

fmt:
	cargo fmt --all --check

deny: target ## Licences, bans and sources of all dependencies
	@command -v cargo-deny >/dev/null || [ -x $(CACHE)/bin/cargo-deny ] || cargo install --locked --root $(CACHE) cargo-deny@0.20.2
	PATH="$(CACHE)/bin:$$PATH" cargo deny --locked check licenses bans sources

generate: target ## Write the files that are made from code
	$(CARGO) run --release -p xtask -- crds
	$(CARGO) run --release -p xtask -- simulate
	$(CARGO) run --release -p xtask -- proto
	./scripts/chart-docs.sh

check-generated: target
	$(CARGO) run --release -p xtask -- crds --check
	$(CARGO) run --release -p xtask -- simulate --check
	$(CARGO) run --release -p xtask -- proto --check
	./scripts/chart-docs.sh --check

fuzz: setup-test ## Random input for the parsers, 10 s each; RUNS=10000000 for so many each, ONLY=filter for one
	./scripts/fuzz.sh $(or $(ONLY),all) $(RUNS)

bench: setup-test build ## Measure; ONLY=runner beside a bare consumer, ONLY=scale on a cluster, ONLY=operator with 100 and 3,000 Functions
	@if grep -q 'running, pid' <<<"$$($(BIN)/testbed status)"; then echo "services of the testbed run already: they are left running"; \
	else trap '$(BIN)/testbed down' EXIT; fi; \
	$(BIN)/testbed kafka start && \
	$(CARGO) bench --profile release --workspace $(if $(ONLY),--bench $(ONLY),--bench runner --bench scale --bench operator)

images: build ## Write the container images to target/images, without a container engine
	$(CARGO) run --release -p xtask -- images

testbed-up: setup-test build ## Start real Kubernetes, Kafka, Redis, S3 and a schema registry
	$(BIN)/testbed kafka start
	$(BIN)/testbed redis start
	$(BIN)/testbed s3 start
	$(BIN)/testbed registry start
	$(CARGO) run --release -p xtask -- images
	$(BIN)/testbed kubernetes start
	$(BIN)/testbed kubernetes load target/images/*.tar
	@echo "ready: docs/kubernetes.md says what to type next"

testbed-down: target ## Stop them and forget their data
	$(BIN)/testbed down
