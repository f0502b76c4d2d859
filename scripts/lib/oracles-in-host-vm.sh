#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# oracles-in-host-vm.sh [KERNEL]: stock Linux drivers against the software PF, which `heirloom soft-pf` serves beside the
# host VM: once with network cards, once with disks. Runs the test host_vm_oracles in each VM, and after it.
# KERNEL: vfio-6.12 (default) or stock-6.12.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
# shellcheck source=scripts/lib/test-program.sh
. scripts/lib/test-program.sh
kernel=${1:-vfio-6.12}
host_vm=${HEIRLOOM_HOST_VM:-$repo/scripts/host-vm}
heirloom=${HEIRLOOM_BIN:-${CARGO_TARGET_DIR:-$repo/target}/release/heirloom}

test=$(test_program host_vm_oracles)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Byte n of sector s is (7 n) xor s, as the test expects it.
python3 -c 'import sys
for s in range(64):
    sys.stdout.buffer.write(bytes(((7 * n) & 255) ^ s for n in range(512)))' | tee "$work/vf0.img" >"$work/vf1.img"
cat >"$work/job.sh" <<'END'
. /lib/host-vm.sh
set -e
export HEIRLOOM_ORACLE_PF=0000:01:00.0
load_vfio
load_module sriovshim pf=$HEIRLOOM_ORACLE_PF
load_module virtio_vfio_pci
exec ./host_vm_oracles "$@"
END
chmod +x "$work/job.sh"
modules=()
[[ $kernel == vfio-* ]] || modules=(--modules)

# oracle KIND SPEC-OF-VF0 SPEC-OF-VF1
oracle() {
    local code=0
    "$host_vm" run --kernel "$kernel" "${modules[@]}" --iommu --timeout 240 \
        --with "exec '$heirloom' soft-pf --socket-dir \"\$HOST_VM_SOCKETS\" --vf '$2' --vf '$3' --report '$work/$1.json'" \
        --with-log "$work/$1.log" --device vfio-user=pf.sock,vf0.sock,vf1.sock --file "$test:host_vm_oracles" -- \
        "$work/job.sh" "$1_" --skip report || code=$?
    ((code == 0)) || sed 's/^/  soft-pf: /' "$work/$1.log" >&2
    HEIRLOOM_ORACLE_REPORT=$work/$1.json HEIRLOOM_ORACLE_IMAGES=$work "$test" "$1_report" || code=$?
    return "$code"
}

failed=0
oracle net net,loopback net,loopback || failed=1
oracle blk "blk,file=$work/vf0.img" "blk,file=$work/vf1.img,readonly" || failed=1
exit "$failed"
