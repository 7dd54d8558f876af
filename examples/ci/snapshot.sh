#!/usr/bin/env bash
# snapshot.sh [BRANCH]: takes a snapshot of the cluster and pushes it as the only file of the only commit of a branch.
#
# Runs where the cluster may be read, on a schedule. What is in the file is for everybody who can read the repository:
# names, labels and addresses of nodes, Services, policies; no Secrets, no pod templates (docs/review.md).
set -euo pipefail

branch=${1:-hostguard-snapshot}
file=$(mktemp -d)/snapshot.json
trap 'rm -rf "$(dirname "$file")"' EXIT

"${HOSTGUARD:-hostguard}" snapshot --out "$file"
blob=$(git hash-object -w --no-filters "$file")
tree=$(printf '100644 blob %s\tsnapshot.json\n' "$blob" | git mktree)
export GIT_AUTHOR_NAME=hostguard GIT_AUTHOR_EMAIL=hostguard@localhost
export GIT_COMMITTER_NAME=hostguard GIT_COMMITTER_EMAIL=hostguard@localhost
commit=$(git commit-tree "$tree" -m "snapshot of $(jq -r '.cluster.name' "$file") of $(jq -r .time "$file")")
git push --force "${REMOTE:-origin}" "$commit:refs/heads/$branch"
