#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# vfio-in-host-vm.sh [KERNEL]: runs the test vfio_host inside the host VM, on QEMU's own modern
# virtio functions behind an IOMMU, and on the software PF where heirloom can serve it. KERNEL: vfio-6.12 (default, has iommufd and character devices) or stock-6.12.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
# shellcheck source=scripts/lib/test-program.sh
. scripts/lib/test-program.sh
kernel=${1:-vfio-6.12}
host_vm=${HEIRLOOM_HOST_VM:-$repo/scripts/host-vm}

test=$(test_program vfio_host)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Byte n of sector s is (7 n) xor s, as the test expects it.
python3 -c 'import sys
for s in range(64):
    sys.stdout.buffer.write(bytes(((7 * n) & 255) ^ s for n in range(512)))' >"$work/disk.img"
cat >"$work/job.sh" <<'END'
. /lib/host-vm.sh
set -e
disk=0000:01:00.0 net=0000:02:00.0 pf=0000:03:00.0 other=0000:04:00.0 soft=0000:05:00.0
echo 1 >/sys/module/vfio_pci/parameters/enable_sriov
for function in $disk $net $pf; do pci_bind $function vfio-pci; done
pci_bind $other virtio-pci
sriov_enable $pf 2
vf0=$(pci_vf $pf 0) vf1=$(pci_vf $pf 1)
pci_bind "$vf0" vfio-pci
pci_bind "$vf1" vfio-pci
export HEIRLOOM_VFIO_DISK=$disk HEIRLOOM_VFIO_NET=$net HEIRLOOM_VFIO_PF=$pf HEIRLOOM_VFIO_OTHER=$other
export HEIRLOOM_VFIO_VF0=$vf0 HEIRLOOM_VFIO_VF1=$vf1

# Two cards behind a bridge to conventional PCI, which the IOMMU cannot tell apart.
for group in /sys/kernel/iommu_groups/*; do
    cards=$(grep -l 0x1af4 "$group"/devices/*/vendor | sed 's,/vendor$,,; s,.*/,,')
    [ "$(echo "$cards" | wc -l)" = 2 ] || continue
    HEIRLOOM_VFIO_NEIGHBOUR=$(echo "$cards" | head -n 1) HEIRLOOM_VFIO_NEIGHBOUR2=$(echo "$cards" | tail -n 1)
    export HEIRLOOM_VFIO_NEIGHBOUR HEIRLOOM_VFIO_NEIGHBOUR2
    pci_bind "$HEIRLOOM_VFIO_NEIGHBOUR" vfio-pci
    pci_bind "$HEIRLOOM_VFIO_NEIGHBOUR2" virtio-pci
done

if [ -n "${SOFT_PF-}" ]; then
    load_module sriovshim pf=$soft
    pci_bind $soft vfio-pci
    sriov_enable $soft 2
    HEIRLOOM_VFIO_SOFT_PF=$soft HEIRLOOM_VFIO_SOFT_VF=$(pci_vf $soft 1)
    export HEIRLOOM_VFIO_SOFT_PF HEIRLOOM_VFIO_SOFT_VF
    pci_bind "$HEIRLOOM_VFIO_SOFT_VF" vfio-pci
fi
code=0
./vfio_host --skip kernel_back_end --skip no_iommu || code=$?
if [ -n "${SOFT_PF-}" ]; then
    # The same PF, driven by the kernel's virtio-pci, and its VF by the kernel's virtio_vfio_pci.
    sriov_enable $soft 0
    pci_bind $soft virtio-pci
    sriov_enable $soft 2
    load_module virtio_vfio_pci
    HEIRLOOM_VFIO_LEGACY=$(pci_vf $soft 0)
    export HEIRLOOM_VFIO_LEGACY
    pci_bind "$HEIRLOOM_VFIO_LEGACY" virtio_vfio_pci
fi
./vfio_host kernel_back_end || code=$?
exit $code
END
chmod +x "$work/job.sh"
bridge=()
card=virtio-net-pci,bus=conventional,disable-legacy=on,iommu_platform=on,romfile=
for device in pcie-root-port,id=to_bridge,chassis=90,slot=30,bus=pcie.0 pcie-pci-bridge,id=conventional,bus=to_bridge \
    "$card,addr=1" "$card,addr=2"; do
    bridge+=(--qemu-arg -device --qemu-arg "$device")
done
modules=()
[[ $kernel == vfio-* ]] || modules=(--modules)
cat >"$work/off.sh" <<'END'
. /lib/host-vm.sh
set -e
disk=0000:01:00.0
export HEIRLOOM_VFIO_DISK=$disk
HEIRLOOM_VFIO_IOMMU_OFF='no driver' ./vfio_host no_iommu_no_driver
unsafe=/sys/module/vfio/parameters/enable_unsafe_noiommu_mode
if [ -e $unsafe ]; then
    echo 1 >$unsafe
    pci_bind $disk vfio-pci
    export HEIRLOOM_VFIO_IOMMU_OFF='unsafe mode'
fi
./vfio_host no_iommu_unsafe_mode
END
chmod +x "$work/off.sh"
soft=()
# A program without the command leaves the tests of the kernel's back end out, and they say so.
heirloom=${HEIRLOOM_BIN:-$repo/target/release/heirloom}
if "$heirloom" soft-pf --help >/dev/null 2>&1; then
    serve="exec '$heirloom' soft-pf --socket-dir \"\$HOST_VM_SOCKETS\" --vf net,loopback,mac=52:54:00:4c:58:00 --vf net,loopback,mac=52:54:00:4c:58:01"
    # shellcheck disable=SC2054
    soft=(--with "$serve" --with-log "$work/soft-pf.log" --device vfio-user=pf.sock,vf0.sock,vf1.sock --env SOFT_PF=yes)
fi
code=0
"$host_vm" run --kernel "$kernel" "${modules[@]}" --iommu --memory 3G --timeout 600 \
    --device "disk=$work/disk.img" --device net --device sriov-net=2 --device net "${soft[@]}" "${bridge[@]}" \
    --file "$test:vfio_host" -- "$work/job.sh" || code=$?
"$host_vm" run --kernel "$kernel" --timeout 60 --device "disk=$work/disk.img" --file "$test:vfio_host" -- "$work/off.sh" || code=$?
exit "$code"
