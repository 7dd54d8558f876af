#!/usr/bin/env bash
# open-requests.sh PLAN [BRANCH]: reviews every open merge request of GitLab that touches the plan, from the trusted side.
#
# A pipeline of a fork runs the fork's own jobs, so its word is not the project's, and a fork has no token to comment
# with. This runs on a schedule on the protected branch instead. A request whose head was reviewed is skipped.
set -euo pipefail
here=$(dirname "$0")
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
plan=$1 branch=${2:-main}
[ "$FORGE" = gitlab ] || die "for GitLab: on GitHub, pull_request_target does this"
all "$project/merge_requests?state=opened&target_branch=$branch&per_page=100" >"$work/open"
failed=0
while IFS=$'\t' read -r number head; do
    case $number$head in *[!0-9a-f]*) die "a request has no number or no commit" ;; esac
    reviewed=$(our_comment "$number" "$plan" | jq -r '.body | split("\n")[0]')
    case $reviewed in *" head=$head "*) continue ;; esac
    git fetch --quiet "${REMOTE:-origin}" "refs/merge-requests/$number/head"
    [ "$(git rev-parse FETCH_HEAD)" = "$head" ] || continue # pushed just now: next time
    base=$(git merge-base HEAD "$head")
    if git diff --quiet "$base" "$head" -- "$plan"; then continue; fi
    "$here/review.sh" "$plan" HEAD "$head" "$work/review-$number" || true # the comment says what is wrong
    if [ -s "$work/review-$number/comment.md" ]; then
        post "$number" "$plan" "$work/review-$number/comment.md"
    else
        failed=1
    fi
done < <(jq -r '[.iid, .sha] | @tsv' "$work/open")
exit "$failed"
