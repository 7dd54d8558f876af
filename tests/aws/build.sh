#!/usr/bin/env bash
# Installs the AWS emulators once, pinned, and prints the directory of the virtual environment.
#
# The directory's name contains the hash of what it is made from; it is marked when it is complete, so a half-made one
# is never used. Deleting it costs one installation and changes nothing else.
set -euo pipefail
cd "$(dirname "$0")"

hash=$(sha256sum <requirements.txt | cut -c1-12)
cache=${HOSTGUARD_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hostguard}
dir=$cache/aws-$hash

if [ ! -e "$dir/complete" ]; then
    echo "installing the AWS emulators into $dir" >&2
    mkdir -p "$cache"
    exec 9>"$cache/aws-$hash.lock"
    flock 9
    if [ ! -e "$dir/complete" ]; then # another run may have been faster
        rm -rf "$dir"
        python3 -m venv "$dir" >&2
        "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps -r requirements.txt >&2
        "$dir/bin/pip" check >&2
        touch "$dir/complete"
    fi
fi
echo "$dir"
