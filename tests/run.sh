#!/usr/bin/env bash
# Runs every tier of tests in order, cheapest first, and stops at the first that fails. `make test` calls it.
#
#   lint    formatting and lints
#   test    unit tests and everything else that needs no server
#   server  builds the API server of the live tier, or finds it built; the same for the emulators of AWS
#   live    what only a real API server can tell, with our own statement of Calico's kinds; and EC2, emulated
#   calico  the same with Calico's own, from the folder in CALICO_CRDS
#
# With arguments, only the tiers named.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()

# need NAME COMMAND...: the command must succeed, or NAME is missing.
need() {
    local name=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$name")
}

at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }
go_is_new() { at_least 1.26 "$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//')"; }
python_is_new() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; }

need "cargo (with rustc; Cargo.toml names the version)" cargo --version
need "cargo fmt (rustup component rustfmt)" cargo fmt --version
need "cargo clippy (rustup component clippy)" cargo clippy --version
need "cc, the linker rustc calls" cc --version
need "go 1.26 or newer, for the API server of the live tests" go_is_new
need "python3 3.11 or newer, for the cloud emulators" python_is_new
need "flock" flock --version
need "gofmt, which comes with go" test -x "$(command -v gofmt)"
need "sha256sum" sha256sum --version
if [ ${#missing[@]} -gt 0 ]; then
    echo "make test needs what is not here:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi

lint() {
    cargo fmt --check
    cargo clippy --all-targets --locked -- -D warnings
    if [ -n "$(gofmt -l tests/control-plane)" ]; then
        echo "gofmt would change: $(gofmt -l tests/control-plane)" >&2
        return 1
    fi
}

# Without a server, on purpose: this is what `cargo test` does on a clean clone.
test_() { env -u HOSTGUARD_CPSERVER -u HOSTGUARD_LIVE -u HOSTGUARD_AWS cargo test --locked; }

# debian COMMAND WHY: a tool of the live tier, from Debian's package of that name where this machine lets us.
debian() {
    if command -v "$1" >/dev/null; then return; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$1" >&2
    fi
    if ! command -v "$1" >/dev/null; then
        echo "the live tier needs $1, which $2: apt-get install $1" >&2
        return 1
    fi
}

server() {
    debian strace "watches what planning a stranger's plan does"
    debian jq "the scripts of examples/ci use"
    debian curl "the scripts of examples/ci use"
    debian git "the scripts of examples/ci use"
    HOSTGUARD_CPSERVER=$(tests/control-plane/build.sh)/cpserver
    HOSTGUARD_AWS=$(tests/aws/build.sh)
}

# Four threads: the server is used by one test at a time and stays up while the next one waits.
live_tests() {
    if [ -z "${HOSTGUARD_CPSERVER:-}" ] || [ -z "${HOSTGUARD_AWS:-}" ]; then server; fi
    HOSTGUARD_LIVE=1 HOSTGUARD_LIVE_CRDS=$1 HOSTGUARD_CPSERVER=$HOSTGUARD_CPSERVER HOSTGUARD_AWS=$HOSTGUARD_AWS \
        cargo test --locked --test live -- --test-threads=4
}
live() { live_tests own; }
calico() { live_tests calico; }

report=()
started=$SECONDS

# The table is printed however the run ends.
print_report() {
    local status=$?
    echo
    printf '%-8s %8s\n' tier seconds
    [ ${#report[@]} -eq 0 ] || printf '%s\n' "${report[@]}"
    printf '%-8s %8d\n' total $((SECONDS - started))
    exit $status
}
trap print_report EXIT

run() {
    local tier=$1 from=$SECONDS status=0
    if [ "$tier" = calico ] && [ -z "${CALICO_CRDS:-}" ]; then
        report+=("$(printf '%-8s %8s' calico 'not run')  CALICO_CRDS names no folder with Calico's own kinds")
        return
    fi
    printf '\n== %s\n' "$tier"
    # Not `|| status=$?`: that would switch off `set -e` inside the tier.
    set +e
    case $tier in
    test) (set -e; test_) ;;
    server) server ;;
    lint | live | calico) (set -e; "$tier") ;;
    *) echo "no tier is called $tier: lint, test, server, live, calico" >&2; false ;;
    esac
    status=$?
    set -e
    report+=("$(printf '%-8s %8d' "$tier" $((SECONDS - from)))$([ $status -eq 0 ] || echo '  failed')")
    [ $status -eq 0 ] || exit $status
}

if [ $# -eq 0 ]; then
    set -- lint test server live calico
fi
for tier in "$@"; do run "$tier"; done
