# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Programs of integration tests, for those that run them elsewhere than cargo does. Sourced, never run.

# test_program NAME: builds that test of tests/tests and prints the path of its program.
test_program() {
    local program
    program=$(cargo test --locked -p tests --test "$1" --no-run --message-format=json 2>/dev/null |
        python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == sys.argv[1] and message.get("executable"):
        print(message["executable"])' "$1" | tail -n 1) && [[ -n $program ]] || {
        echo "$(basename "$0" .sh): the test $1 does not build" >&2
        return 1
    }
    printf '%s\n' "$program"
}
