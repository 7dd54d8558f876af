# `make test` runs everything that can be tested on this machine; tests/run.sh says how.

.PHONY: test control-plane

test:
	@tests/run.sh

# The API server of the live tests: prints the directory that holds cpserver and kubectl.
control-plane:
	@tests/control-plane/build.sh
