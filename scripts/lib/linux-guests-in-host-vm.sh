#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs tests/tests/linux_guests.rs inside the host VM, where nested KVM runs all kernels at speed.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
test=$(cargo test --locked -p tests --test linux_guests --no-run --message-format=json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == "linux_guests" and message.get("executable"):
        print(message["executable"])' | tail -n 1)
[[ -n $test ]] || {
    echo "linux-guests-in-host-vm: the test does not build" >&2
    exit 1
}
# Room for the guest with 4 GiB where this machine has it; else that guest is skipped, and says so.
available=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo)
memory=3G
((available < 10)) || memory=7G

heirloom=${HEIRLOOM_BIN:-$repo/target/release/heirloom}
files=()
for guest in target/guests/*; do files+=(--file "$(readlink -f "$guest"):guests/${guest##*/}"); done
exec scripts/host-vm run --memory "$memory" --timeout 900 --env HEIRLOOM_KVM=hardware \
    --env HEIRLOOM_GUESTS=/job/guests --env HEIRLOOM_BIN=/job/heirloom --env HEIRLOOM_ROOT=/job \
    --file "$heirloom:heirloom" "${files[@]}" -- "$test" --test-threads=1
