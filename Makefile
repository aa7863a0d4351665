# What a developer runs. `make test` is the whole check that CI runs; the rest are parts of it, or longer.

CARGO ?= cargo

.PHONY: test format lint unit envoy hostile bench soak fuzz bless

## Everything that must hold: format, lints, forbidden edges, all tests.
test: format lint unit

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# Forbidden edges are among them (crates/testkit/tests/edges.rs).
unit: envoy hostile
	$(CARGO) test --workspace --locked

# The real Envoy that tests run; they are skipped, saying so, where it cannot be had.
envoy:
	@scripts/envoy.sh

# The packages that malformed requests are sent with; likewise.
hostile:
	@scripts/hostile.sh

## Rewrites the golden files' outputs; look at the difference before you commit it.
bless:
	AMIME_BLESS=1 $(CARGO) test --locked -p amime-model --test 'golden*' --test codes

## Requests a second and CPU µs a request through the gateway, beside HAProxy and Envoy where they are installed;
## what the control plane costs with simulated sidecars; then what 10, 100 and 1,000 pods cost in one `amime up`.
bench:
	$(CARGO) run --release --locked -p amime-proxy --example bench
	$(CARGO) run --release --locked -p amime-control --example scale
	$(CARGO) bench --locked -p amime --bench pods

## Every change under load with every kind of proxy, 1,000 changes by chance; writes docs/soak.md. Takes a quarter of an hour.
## Then 10,000 requests by chance, of which explain is to say what comes of them.
soak: envoy
	$(CARGO) bench --locked -p amime --bench soak
	AMIME_AGREEMENT=10000 $(CARGO) test --locked -p amime --test agreement -- --nocapture

## Fuzzes the decoder of manifests, the matcher and the HTTP edge, so many seconds each.
fuzz:
	scripts/fuzz.sh $(or $(SECONDS_EACH),60)
