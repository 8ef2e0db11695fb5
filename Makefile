# What people do here. `make` alone says so.
export PATH := $(HOME)/.cargo/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help build run test lint bench

# Most tests wait, for a lease or for a bucket to fill, more than they work.
export RUST_TEST_THREADS ?= $(shell expr 2 \* $$(nproc))

help:   ## This list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

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

bench:  ## Measure this machine, one JSON line for each part (PART=kernel, radius, radsec, login, portal, names, floods, speeds, shares or quota: that one alone)
	@tests/setup.sh bench
	@cargo build --release --locked -p kavadam-server -p kavadam-lab -p kavadam-bench --bins >&2
	@cargo build --release --locked -p kavadam-firewall --example open_rate >&2
	@target/release/kavadam-bench $(PART)

.PHONY: bench-radius
bench-radius: ## Measure RADIUS under load beside FreeRADIUS, an hour (QUICK=1: 8 minutes; WRITE=1: tables into docs/benchmarks.md)
	@tests/setup.sh bench-radius
	@cargo build --release --locked -p kavadam-server -p kavadam-bench --bins >&2
	@tests/postgres.sh target/release/kavadam-load compare $(if $(QUICK),--quick) $(if $(WRITE),--write docs/benchmarks.md)

.PHONY: bench-gate
bench-gate: ## Measure what a packet costs at the gate beside openNDS's rules and a NAT router, 15 minutes (QUICK=1: 3; WRITE=1: into docs/benchmarks.md)
	@tests/setup.sh bench-gate
	@cargo build --release --locked -p kavadam-bench --bins >&2
	@target/release/kavadam-gate-bench compare $(if $(QUICK),--quick) $(if $(WRITE),--write docs/benchmarks.md)

.PHONY: soak
soak: ## Keep 100,000 devices coming and going at a gateway and a centre for an hour, 200 a second (WRITE=1: into docs/benchmarks.md)
	@tests/setup.sh bench-gate
	@cargo build --release --locked -p kavadam-server -p kavadam-bench --bins >&2
	@target/release/kavadam-gate-bench soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(WRITE),--write docs/benchmarks.md)

# Where `make install` puts things; DESTDIR is for packages.
PREFIX ?= /usr
KAVADAM ?= target/release/kavadam
.PHONY: install

install: ## Install what `make build` made, with units, manual pages and completions (PREFIX=/usr, DESTDIR=)
	@test -x $(KAVADAM) || { echo 'install: $(KAVADAM) is not there: run make build first'; exit 1; }
	install -Dm755 $(KAVADAM) $(DESTDIR)$(PREFIX)/bin/kavadam
	for unit in systemd/*.service; do sed 's|/usr/bin/kavadam|$(PREFIX)/bin/kavadam|' $$unit | \
	  install -Dm644 /dev/stdin $(DESTDIR)/usr/lib/systemd/system/$${unit#systemd/} || exit 1; \
	  name=$${unit#systemd/}; sed -f systemd/another-lan.sed $$unit | sed 's|/usr/bin/kavadam|$(PREFIX)/bin/kavadam|' | \
	  install -Dm644 /dev/stdin $(DESTDIR)/usr/lib/systemd/system/$${name%.service}@.service || exit 1; done
	install -Dm644 systemd/kavadam.sysusers $(DESTDIR)/usr/lib/sysusers.d/kavadam.conf
	install -Dm644 systemd/kavadam.tmpfiles $(DESTDIR)/usr/lib/tmpfiles.d/kavadam.conf
	$(KAVADAM) man $(DESTDIR)$(PREFIX)/share/man/man1
	$(KAVADAM) completions bash | install -Dm644 /dev/stdin $(DESTDIR)$(PREFIX)/share/bash-completion/completions/kavadam
	$(KAVADAM) completions zsh | install -Dm644 /dev/stdin $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_kavadam
	$(KAVADAM) completions fish | install -Dm644 /dev/stdin $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/kavadam.fish
	@test -n '$(DESTDIR)' || { systemd-sysusers && systemd-tmpfiles --create kavadam.conf; }
	@test -n '$(DESTDIR)' || ! test -d /run/systemd/system || systemctl daemon-reload
	@echo 'installed; next: docs/operations.md, "First configuration"'
