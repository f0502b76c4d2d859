# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the guest scripts share: messages, the list of missing packages, and a
# cache whose entries are either complete or not there.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${HEIRLOOM_CACHE:-$REPO/target/guest-cache}

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}

# need COMMAND=PACKAGE ... : stops with one apt-get line for all that is missing.
# A word with a slash is a file instead of a command.
need() {
    local pair what missing=()
    for pair; do
        what=${pair%%=*}
        if [[ $what == */* ]]; then
            [[ -e $what ]] && continue
        elif command -v "$what" >/dev/null; then
            continue
        fi
        missing+=("${pair#*=}")
    done
    ((${#missing[@]} == 0)) && return
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    die "missing packages; install them with: apt-get install --no-install-recommends ${missing[*]}"
}

# hash_of FILE ... : a short hash over the names and contents of files.
hash_of() {
    local file
    for file; do
        printf '%s\n' "${file##*/}"
        cat "$file"
    done | sha256sum | cut -c1-16
}

# cached NAME FUNCTION ARG ... : prints the path of cache entry NAME. If it is
# not there, FUNCTION ARG ... fills an empty directory, its working directory,
# which then takes the entry's place in one step. One process at a time does so.
cached() {
    local entry=$CACHE/$1 fill=$2 work
    shift 2
    mkdir -p "$CACHE"
    if [[ ! -d $entry ]]; then
        exec {lock}>"$entry.lock"
        if ! flock -n "$lock"; then
            say "another process is making ${entry##*/}, waiting"
            flock "$lock"
        fi
        if [[ ! -d $entry ]]; then
            work=$(mktemp -d "$CACHE/.making.XXXXXX")
            # not "( ... ) || ...": that would switch off errexit inside
            # shellcheck disable=SC2064
            trap "rm -rf '$work'" EXIT
            { cd "$work" || exit; "$fill" "$@"; } >&2 &
            wait $! || die "could not make ${entry##*/}"
            chmod 755 "$work"
            mv -T "$work" "$entry"
            trap - EXIT
        fi
        exec {lock}>&-
        rm -f "$entry.lock"
    fi
    printf '%s\n' "$entry"
}

# slow WHAT COMMAND ... : runs a slow command quietly, with a line before and
# after; on failure it shows the end of what the command said.
slow() {
    local what=$1 from=$SECONDS log
    shift
    say "$what ..."
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "$what: failed after $((SECONDS - from)) s"
    fi
    rm -f "$log"
    say "$what: $((SECONDS - from)) s"
}
