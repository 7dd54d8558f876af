#!/usr/bin/env bash
# apply.sh PLAN COMMIT: applies what was approved in the request whose merge made COMMIT, or nothing.
#
# The change set is made again from the cluster as it is now. Only if its id is the one in our comment on the request is
# it applied, and hostguard itself compares once more under its lock. Otherwise the comment says that the approval is
# stale, and the script ends with 4. APPROVED=sha256:… takes the place of the comment's id, for a person who has read
# what `hostguard plan` shows now. See lib.sh for further variables; INPUTS is a file of values.
# shellcheck disable=SC2016 # backquotes are Markdown's
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
plan=$1 commit=$2
hostguard=${HOSTGUARD:-hostguard}

number=$(request_of "$commit")
approved=${APPROVED:-}
if [ -z "$approved" ] && [ -n "$number" ]; then
    approved=$(our_comment "$number" "$plan" | jq -r '.body | split("\n")[0] | capture(" id=(?<id>sha256:[0-9a-f]+) ").id')
fi

# say STATE FILE: the comment, with the approved id as before.
say() {
    echo "$1" >&2
    [ -n "$number" ] || return 0
    {
        printf '%sid=%s applied=%s -->\n**hostguard: %s**\n\n' "$(marker "$plan")" "${approved:-none}" "$commit" "$1"
        cat "$2"
    } >"$work/said.md"
    post "$number" "$plan" "$work/said.md"
}

inputs=()
[ -z "${INPUTS:-}" ] || inputs=(--inputs "$INPUTS")
code=0
"$hostguard" plan "$plan" "${inputs[@]}" -o markdown --out "$work/set.json" --expires 1h >"$work/plan.md" 2>"$work/story" || code=$?
cat "$work/story" >&2
if [ "$code" -ne 0 ]; then
    say "not applied: refused now (exit $code)" "$work/plan.md"
    exit "$code"
fi
id=$(jq -r .id "$work/set.json")
if [ "$id" != "$approved" ] && [ "$(jq '.steps | length' "$work/set.json")" -gt 0 ]; then
    {
        printf 'Approved was `%s`; what would be done now is `%s`, below. Nothing was done.\n\n' "${approved:-nothing}" "$id"
        printf 'Who has read it starts the apply job with that id, or closes the difference and runs it again.\n\n'
        cat "$work/plan.md"
    } >"$work/stale.md"
    say "not applied: the approval is stale" "$work/stale.md"
    exit 4
fi
"$hostguard" apply "$work/set.json" --yes ${SETTLE:+--settle "$SETTLE"} --lock-timeout "${LOCK_TIMEOUT:-300}" >"$work/answer" 2>"$work/story" || code=$?
cat "$work/answer" "$work/story" >&2
case $code in
0) state="applied" ;;
4) state="not applied: the cluster moved meanwhile" ;;
5) state="applied in part" ;;
6) state="not applied: somebody else applies this plan" ;;
7) state="applied, and the result is not what was planned" ;;
*) state="failed (exit $code)" ;;
esac
{
    printf 'Change set `%s`.\n\n' "$id"
    cat "$work/story" >"$work/told"
    [ "$code" -ne 0 ] || tail -n 3 "$work/answer" >>"$work/told"
    fenced "$work/told"
} >"$work/done.md"
say "$state" "$work/done.md"
exit "$code"
