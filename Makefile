# What a newcomer types: `make run` and `make test`. Each line is a command one could type instead.
SEEDS ?= 300
MINUTES ?= 10
CARGO ?= cargo
# Where `make install` puts things; packagers set DESTDIR too. MEMRING_BIN: another binary than the one that it builds.
PREFIX ?= /usr/local
DESTDIR ?=

.DEFAULT_GOAL := help
.PHONY: help run install deb test test-all lint fmt sim sim-events repair mutants faults upgrade shuttle fuzz bench bench-check bench-rooms bench-memory bench-hits bench-store e2e chart survive kubelet dskit clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

run: ## build, then run a cluster of three nodes in the foreground (Ctrl-C stops it)
	$(CARGO) build --release --locked
	$${CARGO_TARGET_DIR:-target}/release/memring cluster --nodes 3

install: ## build, then install binary, systemd unit and configuration below PREFIX (/usr/local)
	$(if $(MEMRING_BIN),,$(CARGO) build --release --locked --package memring-cli)
	install -D -m 0755 $(or $(MEMRING_BIN),$${CARGO_TARGET_DIR:-target}/release/memring) $(DESTDIR)$(PREFIX)/bin/memring
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/bin/memring|$(PREFIX)/bin/memring|' deploy/systemd/memring.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/memring.service
	test -e $(DESTDIR)/etc/memring/memring.toml || install -D -m 0644 deploy/systemd/memring.toml $(DESTDIR)/etc/memring/memring.toml

deb: ## build, then make a Debian package in target/debian
	scripts/install-tools.sh packages
	.tools/bin/cargo-deb --package memring-cli --locked

test: ## every gate a change must pass (installs what the foreign clients need)
	scripts/test.sh

test-all: ## what is too long for `make test`: the store's schedules, fuzzing, more simulated seeds, random commands, real faults
	scripts/shuttle.sh
	scripts/fuzz.sh 60
	SIM_SEEDS=300 $(CARGO) test --locked --package memring-tests
	SIM_EVENTS=60 $(CARGO) test --locked --package memring-tests --test events thirty
	COMMANDS=1000000 scripts/e2e.sh random
	scripts/faults.sh
	scripts/kubelet.sh

lint: ## format check, clippy, documentation, tidy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	$(CARGO) test --locked --package memring-tests --test tidy

fmt: ## format the code
	$(CARGO) fmt --all

sim: ## simulated clusters, SEEDS of them; SIM_SEED=N replays one
	SIM_SEEDS=$(SEEDS) $(CARGO) test --release --locked --package memring-tests --test sim --test scenarios --test rules -- --nocapture

sim-events: ## six and thirty simulated nodes killed, stopped, rolled, scaled and lost, mixed with faults: SEEDS of each
	SIM_EVENTS=$(SEEDS) $(CARGO) test --release --locked --package memring-tests --test events -- --nocapture

repair: ## copies that differ become equal: a million items, a hundredth of them different, and the bytes that it takes
	$(CARGO) test --locked --package memring-tests --test repair -- --include-ignored --nocapture

mutants: ## break one rule of the cluster at a time: the simulator must notice (MUTANTS="name name" runs some)
	scripts/mutants.sh

faults: ## real nodes through kills, cuts, loss and delay, and what their clients saw (WRITES=1000000: long; FAULT_SEED=N; root)
	scripts/faults.sh

upgrade: ## the release before and this tree in one ring: replaced node by node, both ways, and faults with both (root)
	scripts/upgrade.sh

shuttle: ## the store under thousands of orders of threads, those of its locks and atomics
	scripts/shuttle.sh

fuzz: ## fuzz every decoder, and the store, for a minute
	scripts/fuzz.sh 60

bench: ## memring's speed beside memcached's, written into docs/performance.md (QUICK=1: a look, not written)
	scripts/side-by-side.sh speed --write docs/performance.md

bench-check: ## `memring bench` beside another generator, YCSB, on the same server at a fixed rate (wants a quiet machine)
	scripts/bench-check.sh

bench-rooms: ## measure what a request costs, room by room
	$(CARGO) bench --locked --package memring-benches

bench-memory: ## memring's memory beside memcached's, through the protocol (QUICK=1: smaller figures)
	scripts/side-by-side.sh memory

bench-hits: ## memring's hit rates beside memcached's, on five traces (QUICK=1: smaller figures)
	scripts/side-by-side.sh hits

bench-store: ## overwrite a full store for MINUTES, twice; two threads on one store: holds memory and slowest calls to bars
	$(CARGO) run --release --locked --package memring-store-soak -- $(MINUTES)

e2e: ## three real nodes against the clients, exporters and chart arguments that people use
	scripts/e2e.sh

chart: ## the Helm chart, without a cluster: lint, schemas of ten Kubernetes versions, unit tests (installs Helm 3 and 4)
	scripts/chart.sh

survive: ## what clients see while nodes come and go, beside memcached, written into docs/survive.md (RUNS=3: medians)
	scripts/survive.sh --write

kubelet: ## the chart's pods as real processes: a rollout, a scale-out and a scale-in with clients at work (root)
	scripts/kubelet.sh

dskit: ## the cache client of Grafana's products while a node is killed, with memring and with memcached
	scripts/dskit.sh

clean: ## remove what was built and installed here
	$(CARGO) clean
	rm -rf .tools fuzz/target
