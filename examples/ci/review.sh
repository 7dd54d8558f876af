#!/usr/bin/env bash
# review.sh PLAN BASE HEAD OUT: what happens if HEAD is merged, as a comment in OUT/comment.md.
#
#   PLAN      path of the plan in the repository, from the trusted side; the request chooses its content only
#   BASE HEAD commits: the branch that is merged into, and what is merged
#   SNAPSHOT  the file to plan against (default: snapshot.json), MAX_AGE how old it may be (default: 24h)
#   INPUTS    a file of values for the plan's inputs, from the trusted side; may be left out
#
# The plan's bytes are taken out of git, not checked out: nothing of the request is run, sourced or followed. hostguard
# gets no variable of the job. Ends as `hostguard plan` does: 0, or why it cannot be applied.
# shellcheck disable=SC2016 # backquotes are Markdown's
set -euo pipefail
plan=$1 base=$2 head=$3 out=$4
snapshot=${SNAPSHOT:-snapshot.json} max_age=${MAX_AGE:-24h}

die() {
    echo "error: $*" >&2
    exit 1
}
for commit in "$base" "$head"; do
    git rev-parse --verify --quiet --end-of-options "$commit^{commit}" >/dev/null || die "$commit is no commit"
done
base=$(git merge-base "$base" "$head") || die "the two have no common commit"
mkdir -p "$out"

# plan_at COMMIT FILE: the plan as it is there; a plan that is not there is an empty file.
plan_at() {
    local mode
    mode=$(git ls-tree --format='%(objectmode)' "$1" -- "$plan")
    case $mode in
    '') : >"$2" ;;
    100*) git cat-file blob "$1:$plan" >"$2" ;;
    *) die "$plan is no regular file at $1" ;;
    esac
}
plan_at "$base" "$out/base.yaml"
plan_at "$head" "$out/head.yaml"

# Names as people know them stand in the answers.
mkdir -p "$out/base/$(dirname "$plan")" "$out/head/$(dirname "$plan")"
cp "$out/base.yaml" "$out/base/$plan"
cp "$out/head.yaml" "$out/head/$plan"

options=(--live "$(realpath "$snapshot")" --max-age "$max_age")
[ -z "${INPUTS:-}" ] || options+=(--inputs "$(realpath "$INPUTS")")
hostguard=$(realpath "$(command -v "${HOSTGUARD:-hostguard}")") || die "hostguard is not here"
guarded() {
    local folder=$1
    shift
    (cd "$out/$folder" && env -i PATH=/usr/bin:/bin "$hostguard" "$@")
}

code=0
if [ -s "$out/head.yaml" ]; then
    guarded head plan "$plan" "${options[@]}" -o markdown >"$out/plan.md" 2>"$out/story" || code=$?
    # The comment names the plan, which its reader has; the set is for the id, and for the job.
    if [ "$code" -eq 0 ]; then
        guarded head plan "$plan" "${options[@]}" --out "$(realpath "$out")/set.json" >/dev/null 2>&1 || code=$?
    fi
else
    printf '**hostguard**: this takes the plan away\n' >"$out/plan.md"
fi
[ -s "$out/base.yaml" ] || [ -s "$out/head.yaml" ] || die "$plan is neither at BASE nor at HEAD"
# What the request changes, apart from drift. It fails where the base cannot be planned, which is not the request's fault.
diffed=0
guarded . diff "base/$plan" "head/$plan" "${options[@]}" -o markdown >"$out/diff.md" 2>>"$out/story" || diffed=$?
cat "$out/story" >&2

# Only what can be applied has an id to approve.
id=none
if [ "$code" -eq 0 ] && [ -s "$out/set.json" ]; then id=$(jq -r .id "$out/set.json"); fi
{
    printf '<!-- hostguard:%s id=%s head=%s -->\n' "$(printf %s "$plan" | tr -c 'A-Za-z0-9._/-' '_')" "$id" "$(git rev-parse "$head")"
    cat "$out/plan.md"
} >"$out/comment.md"
foot=$(printf '\nPlan of `%s`, compared with `%s`.\n' "$(git rev-parse --short=12 "$head")" "$(git rev-parse --short=12 "$base")")
if [ "$diffed" -ne 0 ]; then
    printf '\nWhat this request changes, apart from what differs anyway, could not be told: the job says why.\n' >>"$out/comment.md"
elif [ "$(cat "$out/comment.md" "$out/diff.md" | wc -m)" -le 65000 ]; then
    printf '\n---\n\nWhat this request changes, apart from what differs anyway:\n\n' >>"$out/comment.md"
    cat "$out/diff.md" >>"$out/comment.md"
else
    printf '\nWhat this request changes has no room here; the job has it as diff.md.\n' >>"$out/comment.md"
fi
printf '%s\n' "$foot" >>"$out/comment.md"
exit "$code"
