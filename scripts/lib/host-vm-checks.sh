# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What the self-tests of scripts/host-vm share: `vm` runs the tool, `also` checks more of the same run, `verdict`
# says how it went, `summary` ends. Sourced, never run, in an empty folder of the test's own.

lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scripts=${lib%/*}
host_vm=$scripts/host-vm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit

count=0
failures=0
verdict() { # verdict NAME true|false
    count=$((count + 1))
    if "$2"; then
        printf 'ok      %s\n' "$1"
    else
        failures=$((failures + 1))
        printf 'FAILED  %s\n' "$1"
        sed 's/^/  stdout: /' stdout | head -n 20
        sed 's/^/  stderr: /' stderr | tail -n 40
    fi
}

# vm EXPECTED_CODE ARGUMENTS...: runs the tool into ./stdout and ./stderr; `passed` says whether the code fits.
vm() {
    local expected=$1 code=0
    shift
    "$host_vm" "$@" >stdout 2>stderr || code=$?
    passed=true
    if ((code != expected)); then
        echo "exit code $code, expected $expected" >>stderr
        passed=false
    fi
}
# Further conditions on the same run.
# shellcheck disable=SC2034 # read by the tests
also() { "$@" || {
    echo "condition failed: $*" >>stderr
    passed=false
}; }

# The last line is what scripts/test counts.
summary() {
    printf 'test result: %s. %s passed; %s failed; 0 ignored\n' "$( ((failures)) && echo FAILED || echo ok)" \
        $((count - failures)) "$failures"
    ((failures == 0))
}
