#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# pf-in-host-vm.sh [TEST-ARGUMENTS...]: runs the test host_pf inside the host VM: `heirloom pf` and `heirloom probe` on the
# software PF, which `heirloom soft-pf` serves beside the VM, and on QEMU's own PF.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
host_vm=${HEIRLOOM_HOST_VM:-$repo/scripts/host-vm}
heirloom=${HEIRLOOM_BIN:-${CARGO_TARGET_DIR:-$repo/target}/release/heirloom}

test=$(cargo test --locked -p tests --test host_pf --no-run --message-format=json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == "host_pf" and message.get("executable"):
        print(message["executable"])' | tail -n 1)
[[ -n $test ]] || {
    echo "pf-in-host-vm: the test host_pf does not build" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/job.sh" <<'END'
. /lib/host-vm.sh
set -e
export HEIRLOOM_PF_SOFT=0000:01:00.0 HEIRLOOM_PF_QEMU=0000:02:00.0 HEIRLOOM_BIN=/job/heirloom
load_vfio
load_module sriovshim pf=$HEIRLOOM_PF_SOFT
load_module virtio_vfio_pci
exec ./host_pf "$@"
END
chmod +x "$work/job.sh"
code=0
"$host_vm" run --kernel vfio-6.12 --iommu --timeout 300 \
    --with "exec '$heirloom' soft-pf --socket-dir \"\$HOST_VM_SOCKETS\" --vf net,loopback --vf net,loopback" \
    --with-log "$work/soft-pf.log" --device vfio-user=pf.sock,vf0.sock,vf1.sock --device sriov-net=2 \
    --file "$heirloom:heirloom" --file "$test:host_pf" -- "$work/job.sh" "$@" || code=$?
((code == 0)) || sed 's/^/  soft-pf: /' "$work/soft-pf.log" >&2
exit "$code"
