#!/usr/bin/env bash
# drift.sh PLAN: compares the plan with the cluster, and keeps one issue about what differs.
#
# Ends with 0 where nothing does (an open issue is closed), with 2 and an issue where the cluster drifted, 3 or 8 and an
# issue where it drifted so that the plan is refused, and with 1 and no issue where it could not be told.
# shellcheck disable=SC2016 # backquotes are Markdown's
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
plan=$1
inputs=()
[ -z "${INPUTS:-}" ] || inputs=(--inputs "$INPUTS")
code=0
"${HOSTGUARD:-hostguard}" plan "$plan" "${inputs[@]}" --detailed-exitcode -o markdown >"$work/plan.md" || code=$?

case $FORGE in
github) body=body number=number opened=open ;;
gitlab) body=description number=iid opened=opened ;;
esac
label=hostguard-drift
our_issue() {
    local who
    who=$(login)
    all "$project/issues?state=$opened&labels=$label&per_page=100" >"$work/issues"
    jq -rs --arg who "$who" --arg marker "$(marker "$plan")" --arg body "$body" --arg number "$number" '
        [.[] | select((.user.login // .author.username) == $who and ((.[$body] // "") | startswith($marker)) and (has("pull_request") | not))]
        | .[0][$number] // empty
    ' "$work/issues"
}
edit() {
    case $FORGE in
    github) api PATCH "$project/issues/$1" "$2" ;;
    gitlab) api PUT "$project/issues/$1" "$2" ;;
    esac
}

case $code in
0)
    issue=$(our_issue)
    if [ -n "$issue" ]; then
        if [ "$FORGE" = github ]; then echo '{"state": "closed"}'; else echo '{"state_event": "close"}'; fi >"$work/issue.json"
        edit "$issue" "$work/issue.json"
        echo "no drift any more: closed issue $issue" >&2
    fi
    ;;
2 | 3 | 8)
    {
        printf '%sdrift -->\n' "$(marker "$plan")"
        printf 'The cluster is not what `%s` says. To apply the plan would do this:\n\n' "$plan"
        cat "$work/plan.md"
    } >"$work/issue.md"
    issue=$(our_issue)
    if [ -n "$issue" ]; then
        jq -Rs --arg body "$body" '{($body): .}' "$work/issue.md" >"$work/issue.json"
        edit "$issue" "$work/issue.json"
        echo "drift: edited issue $issue" >&2
    else
        jq -Rs --arg body "$body" --arg title "hostguard: the cluster differs from $plan" --arg tag "$label" --arg forge "$FORGE" '
            {title: $title, labels: (if $forge == "github" then [$tag] else $tag end), ($body): .}
        ' "$work/issue.md" >"$work/issue.json"
        api POST "$project/issues" "$work/issue.json"
        echo "drift: opened issue $(jq -r --arg number "$number" '.[$number]' "$work/body")" >&2
    fi
    ;;
*) echo "whether there is drift could not be told" >&2 ;;
esac
exit "$code"
