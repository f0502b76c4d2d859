#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# pf-in-host-vm.sh [TEST-ARGUMENTS...]: runs the test host_pf inside the host VM: `heirloom pf` and `heirloom probe` on the
# software PF, which `heirloom soft-pf` serves beside the VM, and on QEMU's own PF.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
# shellcheck source=scripts/lib/test-program.sh
. scripts/lib/test-program.sh
host_vm=${HEIRLOOM_HOST_VM:-$repo/scripts/host-vm}
heirloom=${HEIRLOOM_BIN:-${CARGO_TARGET_DIR:-$repo/target}/release/heirloom}

test=$(test_program host_pf)

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
cat >"$work/disk.sh" <<'END'
. /lib/host-vm.sh
set -e
export HEIRLOOM_PF_DISK=0000:01:00.0 HEIRLOOM_BIN=/job/heirloom
load_vfio
load_module sriovshim pf=$HEIRLOOM_PF_DISK
exec ./host_pf "$@"
END
chmod +x "$work/disk.sh"
truncate -s 64K "$work/vf0.img" "$work/vf1.img"

# in_vm JOB KERNEL SPEC-OF-VF0 SPEC-OF-VF1 HOST-VM-ARGUMENTS... -- TEST-ARGUMENTS...
in_vm() {
    local job=$1 kernel=$2 first=$3 second=$4 arguments=() code=0
    shift 4
    while [[ $1 != -- ]]; do arguments+=("$1") && shift; done
    "$host_vm" run --kernel "$kernel" --iommu --timeout 300 \
        --with "exec '$heirloom' soft-pf --socket-dir \"\$HOST_VM_SOCKETS\" --vf '$first' --vf '$second'" \
        --with-log "$work/soft-pf.log" --device vfio-user=pf.sock,vf0.sock,vf1.sock "${arguments[@]}" \
        --file "$heirloom:heirloom" --file "$test:host_pf" -- "$work/$job" "${@:2}" || code=$?
    ((code == 0)) || sed 's/^/  soft-pf: /' "$work/soft-pf.log" >&2
    return "$code"
}

failed=0
in_vm job.sh vfio-6.12 net,loopback net,loopback --device sriov-net=2 -- --skip disk_ "$@" || failed=1
# A stock kernel: it can swap.
in_vm disk.sh stock-6.12 "blk,file=$work/vf0.img" "blk,file=$work/vf1.img" --modules -- disk_ || failed=1
exit "$failed"
