#!/usr/bin/env bash
# Builds the test control plane (cpserver and kubectl) once and prints the directory that holds both.
#
# The directory's name contains the hash of what it is built from, so a stale one is never used; it appears
# by a rename, so a half-built one is never seen. Deleting it costs one build and changes nothing else.
set -euo pipefail
cd "$(dirname "$0")"

hash=$(cat go.sum main.go go.mod | sha256sum | cut -c1-12)
cache=${HOSTGUARD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hostguard}
dir=$cache/control-plane-$hash

if [ ! -x "$dir/cpserver" ] || [ ! -x "$dir/kubectl" ]; then
    kubernetes=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
    # Without these two names the server says it is v0.0.0-master.
    flags="-s -w -X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/client-go/pkg/version.gitVersion=$kubernetes"
    mkdir -p "$cache"
    build=$(mktemp -d "$cache/.building-XXXXXX")
    trap 'rm -rf "$build"' EXIT
    echo "building kube-apiserver and etcd $kubernetes into $dir (minutes when cold)" >&2
    CGO_ENABLED=0 go build -ldflags "$flags" -o "$build/cpserver" . >&2
    CGO_ENABLED=0 go build -ldflags "$flags" -o "$build/kubectl" k8s.io/kubernetes/cmd/kubectl >&2
    if [ ! -x "$dir/cpserver" ] || [ ! -x "$dir/kubectl" ]; then # another run may have been faster
        rm -rf "$dir"
        chmod 755 "$build"
        mv -T "$build" "$dir"
    fi
fi
echo "$dir"
