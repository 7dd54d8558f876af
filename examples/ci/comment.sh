#!/usr/bin/env bash
# comment.sh NUMBER PLAN FILE: FILE becomes the one comment about PLAN on the request. See lib.sh for the variables.
#
# For the trusted job: it has the right to comment, and never sees the request's own files.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
post "$1" "$2" "$3"
