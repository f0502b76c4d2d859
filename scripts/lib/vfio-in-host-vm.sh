#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# vfio-in-host-vm.sh [KERNEL [TEST-ARGUMENTS...]]: runs the test vfio_host inside the host VM, on QEMU's own modern
# virtio functions behind an IOMMU. KERNEL: vfio-6.12 (default, has iommufd and character devices) or stock-6.12.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
kernel=${1:-vfio-6.12}
host_vm=${HEIRLOOM_HOST_VM:-$repo/scripts/host-vm}

test=$(cargo test --locked -p tests --test vfio_host --no-run --message-format=json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == "vfio_host" and message.get("executable"):
        print(message["executable"])' | tail -n 1)
[[ -n $test ]] || {
    echo "vfio-in-host-vm: the test vfio_host does not build" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Byte n of sector s is (7 n) xor s, as the test expects it.
python3 -c 'import sys
for s in range(64):
    sys.stdout.buffer.write(bytes(((7 * n) & 255) ^ s for n in range(512)))' >"$work/disk.img"
cat >"$work/job.sh" <<'END'
. /lib/host-vm.sh
set -e
disk=0000:01:00.0 net=0000:02:00.0 pf=0000:03:00.0 other=0000:04:00.0
echo 1 >/sys/module/vfio_pci/parameters/enable_sriov
for function in $disk $net $pf; do pci_bind $function vfio-pci; done
pci_bind $other virtio-pci
sriov_enable $pf 2
vf0=$(pci_vf $pf 0) vf1=$(pci_vf $pf 1)
pci_bind $vf0 vfio-pci
pci_bind $vf1 vfio-pci
export HEIRLOOM_VFIO_DISK=$disk HEIRLOOM_VFIO_NET=$net HEIRLOOM_VFIO_PF=$pf HEIRLOOM_VFIO_OTHER=$other
export HEIRLOOM_VFIO_VF0=$vf0 HEIRLOOM_VFIO_VF1=$vf1
exec ./vfio_host "$@"
END
chmod +x "$work/job.sh"
modules=()
[[ $kernel == vfio-* ]] || modules=(--modules)
"$host_vm" run --kernel "$kernel" "${modules[@]}" --iommu --memory 3G --timeout 600 \
    --device "disk=$work/disk.img" --device net --device sriov-net=2 --device net \
    --file "$test:vfio_host" -- "$work/job.sh" "${@:2}"
