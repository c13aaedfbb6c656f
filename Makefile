# `make` lists the targets; `make test` is what CI runs.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
export PATH := $(CURDIR)/.cache/tools/bin:$(PATH)

# What everything here is built with: TLS and SASL/SCRAM towards Kafka, through an OpenSSL built from source (minutes, once). FEATURES= builds
# without. `make demo` needs none of it.
FEATURES ?= kafka-tls
export FEATURES
WITH := --locked --features "$(FEATURES)"
# target/debug/dualstream, built as the tests build it: `cargo build` alone leaves their dependencies out, and would build half of all anew.
BINARY := cargo test $(WITH) --quiet --no-run --test it

# Cheap first, so that a slip shows early.
STEPS := deps fmt-check deny lint unit prove-slice sim-slice fuzz-slice handover it demo-check helm-check

.PHONY: help $(STEPS) test advisories prove sim crash-long churn-long fuzz mutants demo bench start-up engines helm-deps helm-docs helm-check-full helm-server image-check sbom

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 17

test: ## everything CI runs: deps, fmt-check, deny, lint, unit, prove-slice, sim-slice, fuzz-slice, handover, it, demo-check, helm-check
	@scripts/steps.sh $(STEPS)

deps: ## install or fetch what is missing: Java, Maven, Redis, Kafka, strace, cargo-deny
	@scripts/deps.sh

fmt-check: ## the format of the code
	@cargo fmt --check

lint: ## clippy, warnings are errors
	@cargo clippy $(WITH) --all-targets -- -D warnings

deny: ## licences, sources and banned crates; advisories when their database can be fetched
	@cargo deny --locked --log-level error check bans licenses sources
	@if timeout 60 cargo deny --locked --log-level off fetch db 2>/dev/null; then \
		cargo deny --locked check --disable-fetch advisories; \
	else \
		echo "note: advisories not checked, their database cannot be fetched from here"; \
	fi

advisories: ## known vulnerabilities and unmaintained crates; needs the network
	@cargo deny --locked check advisories

unit: ## the tests beside the code
	@cargo test $(WITH) --lib --bins

prove-slice: ## a bounded slice of the proofs of the buffer
	@cargo test $(WITH) --test prove

prove: ## the proofs of the buffer, all of them: crashes, faults, rot, a model (docs/proofs.md)
	@cargo test $(WITH) --release --test prove -- --full

sim-slice: ## the whole relay from some hundred seeds
	@cargo test $(WITH) --test sim

sim: ## the whole relay from thousands of seeds: a faulty Kafka, crashes, an operator; a table (docs/proofs.md); DUALSTREAM_SEED=N ARGS="--only NAME" one of them
	@cargo test $(WITH) --release --test sim -- --full $(ARGS)

fuzz-slice: ## some seconds of each fuzz target, with the inputs that are kept
	@DUALSTREAM_FUZZ_SECONDS=8 cargo test $(WITH) --lib fuzz:: -- --nocapture

fuzz: ## each fuzz target for DUALSTREAM_FUZZ_SECONDS (600); a failing input is kept in target/fuzz
	@DUALSTREAM_FUZZ_SECONDS=$${DUALSTREAM_FUZZ_SECONDS:-600} cargo test $(WITH) --release --lib fuzz:: -- --nocapture

handover: ## the buffer's threads in many orders: no wake-up is lost (DUALSTREAM_INTERLEAVINGS, 400)
	@cargo test $(WITH) --test handover

it: ## the integration tests: the real binary, a real Kafka, a real Redis
	@cargo test $(WITH) --test it

crash-long: ## kill -9 DUALSTREAM_CRASH_ROUNDS times (200): at random moments, during recovery, while Kafka is down
	@DUALSTREAM_CRASH_ROUNDS=$${DUALSTREAM_CRASH_ROUNDS:-200} cargo test $(WITH) --test it -- crash:: reconcile::nothing_comes_twice exactly_once::nothing_comes_twice --nocapture --test-threads 1

churn-long: ## allocated disk through DUALSTREAM_CHURN_SECONDS (600) of filling, draining and kill -9
	@DUALSTREAM_CHURN_SECONDS=$${DUALSTREAM_CHURN_SECONDS:-600} cargo test $(WITH) --test it kernel::churn -- --nocapture

mutants: ## take each sync, checksum, lock and order out in turn: its proof must fail (ARGS="NAME", ARGS=--write-docs)
	@scripts/mutants.py $(ARGS)

demo: ## everything in one process: an outage, the backlog, the recovery, the tally
	@cargo build --locked --release
	@timeout --foreground 300 cargo run --locked --release --quiet -- demo

demo-check: ## the demo as a check: what was sent was consumed and notified
	@$(BINARY)
	@tally=$$(timeout 300 target/debug/dualstream demo --json) || { echo "the demo failed ($$?): $$tally"; exit 1; }; \
	echo "$$tally"; \
	[[ "$$tally" =~ '"sent":'([1-9][0-9]*),'"consumed":'([0-9]+),'"notified":'([0-9]+) ]] || { echo "no tally"; exit 1; }; \
	[[ $${BASH_REMATCH[1]} = "$${BASH_REMATCH[2]}" && $${BASH_REMATCH[1]} = "$${BASH_REMATCH[3]}" ]] || { echo "the tally does not add up"; exit 1; }

# The relay that the chart's configurations are tried on.
DUALSTREAM ?= $(CURDIR)/target/debug/dualstream

helm-deps: ## fetch or build helm 3 and 4, promtool, schemas
	@scripts/deps-k8s.sh

helm-docs: ## the chart's README.md and values.schema.json, from values.yaml and docs/config.md
	@cd tests/helm && go run ./chartdocs

helm-check: helm-deps ## the chart, its examples and the kustomize component, by helm 3 and 4, schemas, Pod validation, promtool; UPDATE=1 keeps what differs
	@[ "$(DUALSTREAM)" != "$(CURDIR)/target/debug/dualstream" ] || $(BINARY)
	@cd tests/helm && DUALSTREAM="$(DUALSTREAM)" go test -vet=off -count=1 . ./chartdocs

helm-check-full: helm-deps ## helm-check, and on real processes: a pod's shutdown, the dashboard's queries by a Prometheus that scrapes a relay
	@[ "$(DUALSTREAM)" != "$(CURDIR)/target/debug/dualstream" ] || $(BINARY)
	@cd tests/helm && DUALSTREAM="$(DUALSTREAM)" go test -vet=off -count=1 -v ./...

helm-server: helm-deps ## a real kube-apiserver with etcd, built from source (some 10 minutes, once): takes every object and pod, injects by the policy what the other ways give
	@scripts/deps-server.sh
	@[ "$(DUALSTREAM)" != "$(CURDIR)/target/debug/dualstream" ] || $(BINARY)
	@cd tests/helm && DUALSTREAM="$(DUALSTREAM)" go test -vet=off -tags server -count=1 -v -run TestServer .

image-check: deps ## the image by the Dockerfile without Docker, run as nobody on a read-only root beside a real Kafka; needs root and buildah (QUICK=1: not optimised)
	@scripts/image-check.sh

sbom: ## what the program is built from, as CycloneDX 1.6 with licences and hashes: target/dualstream.cdx.json (FEATURES=kafka-tls)
	@scripts/sbom.py --features "$(FEATURES)" --out target/dualstream.cdx.json
	@scripts/sbom.py --check target/dualstream.cdx.json

bench: ## this machine: ingest, disk, drain, end to end, memory, each beside its own ceiling (ARGS="--brokers HOST:PORT")
	@cargo build $(WITH) --release
	@cargo run $(WITH) --release --quiet -- bench $(ARGS)

start-up: ## what it takes to open a buffer of 10 GiB, and of 1 GiB, after a kill and after a stop (ARGS="--start-backlog-bytes SIZE --dir DIR")
	@cargo build $(WITH) --release
	@cargo run $(WITH) --release --quiet -- bench --only start $(ARGS)

engines: ## the storage engines that were compared, run again
	@cd benches/engines && cargo run --release
