# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/host-vm and scripts/kvm-speed share. Sourced, never run.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$lib/../.." && pwd)
cache=${HEIRLOOM_CACHE:-$repo/target}/host-vm-cache

# compiled NAME: builds lib/NAME.c unless that very source was built before, prints the program's path.
# Static, so that the same program runs inside the host VM.
compiled() {
    local source=$lib/$1.c hash program
    hash=$(sha256sum <"$source")
    program=$cache/bin/$1-${hash:0:16}
    if [[ ! -x $program ]]; then
        mkdir -p "$cache/bin"
        # Built beside its place and moved in: two scripts may do this at the same time.
        gcc -std=gnu11 -O2 -Wall -Wextra -static -o "$program.$$" "$source" >&2
        mv -f "$program.$$" "$program"
    fi
    printf '%s\n' "$program"
}

# 125 is what timeout(1) and others use for "the tool itself failed".
EXIT_VM_FAILED=125

say() { printf 'host-vm: %s\n' "$*" >&2; }
die() {
    say "$1"
    exit "${2:-$EXIT_VM_FAILED}"
}
usage_error() {
    say "$1 (see scripts/host-vm --help)"
    exit 2
}
