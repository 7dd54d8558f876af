# Shared by the scripts of this folder: the comments and issues of a forge, GitHub or GitLab. Needs bash, curl and jq.
# shellcheck shell=bash
#
#   FORGE=github   GITHUB_TOKEN, GITHUB_REPOSITORY; GITHUB_API_URL for another address
#   FORGE=gitlab   HOSTGUARD_GITLAB_TOKEN (a project access token), CI_PROJECT_ID, CI_API_V4_URL
#   HOSTGUARD_LOGIN  who writes the comments; default: github-actions[bot], on GitLab the token's owner
#
# The token never stands on a command line, and goes to no address but the forge's.

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() {
    echo "error: $*" >&2
    exit 1
}

case ${FORGE:-} in
github)
    : "${GITHUB_TOKEN:?}" "${GITHUB_REPOSITORY:?}"
    forge_api=${GITHUB_API_URL:-https://api.github.com}
    project=$forge_api/repos/$GITHUB_REPOSITORY
    ;;
gitlab)
    : "${HOSTGUARD_GITLAB_TOKEN:?}" "${CI_PROJECT_ID:?}" "${CI_API_V4_URL:?}"
    forge_api=$CI_API_V4_URL
    project=$forge_api/projects/$CI_PROJECT_ID
    ;;
*) die "FORGE is github or gitlab" ;;
esac

# What identifies us, for curl's standard input.
credentials() {
    case $FORGE in
    github) printf 'header = "Authorization: Bearer %s"\nheader = "X-GitHub-Api-Version: 2022-11-28"\n' "$GITHUB_TOKEN" ;;
    gitlab) printf 'header = "PRIVATE-TOKEN: %s"\n' "$HOSTGUARD_GITLAB_TOKEN" ;;
    esac
}

# api METHOD URL [JSON-FILE]: the answer's body is in $work/body, its head in $work/head. What may be sent twice is tried
# again; a POST is not.
api() {
    local method=$1 url=$2 data=${3:-} status
    case $url in "$forge_api"/*) ;; *) die "$url is not on $forge_api: the token stays here" ;; esac
    local options=(--silent --show-error --config - --request "$method" --header 'Accept: application/json'
        --output "$work/body" --dump-header "$work/head" --write-out '%{http_code}' --max-time 60)
    [ -z "$data" ] || options+=(--header 'Content-Type: application/json' --data-binary "@$data")
    [ "$method" = POST ] || options+=(--retry 3)
    status=$(credentials | curl "${options[@]}" "$url") || die "$method $url: no answer"
    case $status in
    2??) return ;;
    401 | 403) echo "the token may not do this: a pull request from a fork has a read-only one, and comments are for the trusted job" >&2 ;;
    esac
    die "$method $url: $status $(jq -r '.message // .error // . | tostring' "$work/body" 2>/dev/null | head -c 500)"
}

# all URL: every element of a list that comes in pages, one a line.
all() {
    local url=$1
    while [ -n "$url" ]; do
        api GET "$url"
        jq -c '.[]' "$work/body"
        url=$(tr -d '\r' <"$work/head" | sed -n 's/^[Ll]ink:.*<\([^>]*\)>; *rel="next".*/\1/p')
    done
}

# Who writes our comments: nobody else's are taken for ours, whatever they say.
login() {
    if [ -n "${HOSTGUARD_LOGIN:-}" ]; then
        echo "$HOSTGUARD_LOGIN"
    elif [ "$FORGE" = github ]; then
        echo 'github-actions[bot]'
    else
        api GET "$forge_api/user"
        jq -r .username "$work/body"
    fi
}

comments_of() {
    case $FORGE in
    github) echo "$project/issues/$1/comments" ;;
    gitlab) echo "$project/merge_requests/$1/notes" ;;
    esac
}

# marker PLAN: how the comment about this plan begins.
marker() { printf '<!-- hostguard:%s ' "$(printf %s "$1" | tr -c 'A-Za-z0-9._/-' '_')"; }

# our_comment NUMBER PLAN: our first comment about the plan, as the forge has it; nothing when there is none.
our_comment() {
    local who
    who=$(login)
    all "$(comments_of "$1")?per_page=100" >"$work/comments"
    jq -cs --arg who "$who" --arg marker "$(marker "$2")" '
        [.[] | select((.user.login // .author.username) == $who and (.body | startswith($marker)))] | sort_by(.id) | .[0] // empty
    ' "$work/comments"
}

# post NUMBER PLAN FILE: the file becomes our one comment about the plan.
post() {
    local number=$1 plan=$2 file=$3 ours id
    case $number in '' | *[!0-9]*) die "\`$number\` is no number of a request" ;; esac
    case $(head -n1 "$file") in "$(marker "$plan")"*) ;; *) die "$file does not begin with its marker" ;; esac
    [ "$(wc -m <"$file")" -le 65536 ] || die "$file is longer than a comment can be"
    ours=$(our_comment "$number" "$plan")
    jq -Rs '{body: .}' "$file" >"$work/comment.json"
    if [ -z "$ours" ]; then
        api POST "$(comments_of "$number")" "$work/comment.json"
        echo "commented on request $number" >&2
        return
    fi
    if [ "$(jq -r .body <<<"$ours")" = "$(cat "$file")" ]; then
        echo "the comment on request $number says so already" >&2
        return
    fi
    id=$(jq -r .id <<<"$ours")
    case $FORGE in
    github) api PATCH "$project/issues/comments/$id" "$work/comment.json" ;;
    gitlab) api PUT "$(comments_of "$number")/$id" "$work/comment.json" ;;
    esac
    echo "edited the comment on request $number" >&2
}

# request_of COMMIT: the number of the request whose merge made the commit; nothing when there is none.
request_of() {
    case $FORGE in
    github)
        all "$project/commits/$1/pulls?per_page=100" >"$work/requests"
        jq -rs --arg commit "$1" '[.[] | select(.merged_at != null and .merge_commit_sha == $commit)] | .[0].number // empty' "$work/requests"
        ;;
    gitlab)
        all "$project/repository/commits/$1/merge_requests?per_page=100" >"$work/requests"
        jq -rs --arg commit "$1" '
            [.[] | select(.state == "merged" and (.merge_commit_sha == $commit or .squash_commit_sha == $commit or .sha == $commit))] | .[0].iid // empty
        ' "$work/requests"
        ;;
    esac
}

# fenced FILE: text as it is, in which nothing is markup; cut where a comment would have no room.
fenced() {
    printf '```text\n'
    tr '`' "'" <"$1" | head -c 30000
    printf '\n```\n'
}

