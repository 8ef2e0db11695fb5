# What people do here. `make` alone says so.
export PATH := $(HOME)/.cargo/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help build run test lint bench

help:   ## This list
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

build:  ## Build target/release/kavadam
	@tests/setup.sh build
	cargo build --release --locked --bin kavadam

run:    ## Show a citizen's day in a small world of namespaces (ONCE=1: exit after it, figures as JSON last)
	@tests/setup.sh run
	@cargo build --release --locked -p kavadam-server -p kavadam-lab --bins >&2
	@target/release/kavadam-lab run $(if $(ONCE),--once)

test:   ## Install what tests need and run every test
	@tests/setup.sh test
	cargo build --locked -p kavadam-server -p kavadam-lab --bins
	tests/postgres.sh cargo test --workspace --locked

lint:   ## Formatting, clippy pedantic, licences
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check licenses bans sources; else \
	  echo 'lint: cargo-deny is not installed; licences were not checked (cargo install cargo-deny)'; fi

bench:  ## Measure this machine, one JSON line for each part (PART=kernel, radius, login or portal: that one alone)
	@tests/setup.sh bench
	@cargo build --release --locked -p kavadam-server -p kavadam-lab -p kavadam-bench --bins >&2
	@cargo build --release --locked -p kavadam-firewall --example open_rate >&2
	@target/release/kavadam-bench $(PART)
