# `make try` is the main job with nothing installed but Rust. `make test` runs everything that can be tested on this
# machine; tests/run.sh says how.

.PHONY: try install test bench control-plane

# Builds hostguard, then plans, applies and destroys a real plan; a copy of a snapshot file plays the cluster.
PLAN = plans/eks-workshop.yaml --live target/try/eks.json
HOSTGUARD = cargo run --locked --quiet --
INPUTS = --set trusted=203.0.113.7/32
try:
	mkdir -p target/try
	cp examples/eks.json target/try/eks.json
	$(HOSTGUARD) plan $(PLAN) $(INPUTS)
	$(HOSTGUARD) apply $(PLAN) $(INPUTS) --yes
	$(HOSTGUARD) plan $(PLAN) $(INPUTS)
	$(HOSTGUARD) destroy $(PLAN) --yes

install:
	cargo install --path . --locked

test:
	@tests/run.sh

# Speed and size beside the kubectl of the same Kubernetes, in one table. Minutes; PARTS="start engine" runs some.
bench:
	HOSTGUARD_CPSERVER=$$(tests/control-plane/build.sh)/cpserver cargo bench --locked --bench speed -- $(PARTS)

# The API server of the live tests: prints the directory that holds cpserver and kubectl.
control-plane:
	@tests/control-plane/build.sh
