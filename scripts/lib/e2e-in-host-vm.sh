#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# e2e-in-host-vm.sh [RIG...]: heirloom with nested guests on real VFs, from end to end. Runs the test host_vm_guests in one
# host VM for each rig: disks, old and cards (the software PF on VFIO, served beside the VM; old has VFs that lose kicks
# before DRIVER_OK, and drivers that make such), gone (the same, and its server is
# killed), off (no IOMMU). After that it looks at the servers' reports. Default: all of them. HEIRLOOM_E2E_ONLY has only the
# tests run whose names have it in them; then the reports are not looked at.
# The rigs' functions are called by their names in a variable.
# shellcheck disable=SC2317
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
# shellcheck source=scripts/lib/test-program.sh
. scripts/lib/test-program.sh
host_vm=${HEIRLOOM_HOST_VM:-$repo/scripts/host-vm}
heirloom=${HEIRLOOM_BIN:-${CARGO_TARGET_DIR:-$repo/target}/release/heirloom}
rigs=("$@")
((${#rigs[@]})) || rigs=(disks old cards gone off)

test=$(test_program host_vm_guests)
"$host_vm" prepare --kernel vfio-6.12 >&2
kernel=$("$host_vm" where --kernel vfio-6.12)
initramfs=$(scripts/guest-initramfs --arch x86_64)
guest=$(scripts/lib/small-guest.sh)
tiny=$(scripts/guest-kernel tiny --print vmlinux)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" <<'END'
import random, sys
data = random.Random(4)
for name, size in ("original.img", 1 << 20), ("vf1.img", 1 << 16), ("plain.img", 1 << 18):
    image = bytearray(data.randbytes(size))
    # One partition, which old drivers look for in their probe.
    image[446:512] = b"\0\0\0\0\x83\0\0\0" + (64).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(48) + b"\x55\xaa"
    open(f"{sys.argv[1]}/{name}", "wb").write(image)
END
cp "$work/original.img" "$work/vf0.img"
cp "$work/original.img" "$work/old0.img"
cp "$work/plain.img" "$work/disk.img"
truncate -s 1M "$work/signal.img"

cat >"$work/job.sh" <<'END'
. /lib/host-vm.sh
set -e
mkdir -p /tmp
export HEIRLOOM_KVM=hardware HEIRLOOM_ROOT=/job HEIRLOOM_BIN=/job/heirloom HEIRLOOM_SMALL_GUEST=/job/small-guest \
    HEIRLOOM_GUESTS=/job/guests HEIRLOOM_E2E_IMAGE=/job/original.img HEIRLOOM_E2E_PLAIN_IMAGE=/job/plain.img
huge_pages 320
if [ "$HEIRLOOM_E2E" = off ]; then
    export HEIRLOOM_E2E_DISK=0000:01:00.0
    pci_unbind 0000:01:00.0
else
    export HEIRLOOM_E2E_PF=0000:01:00.0
    load_module sriovshim pf=0000:01:00.0
    load_module virtio_vfio_pci
    echo 1 >/sys/module/vfio_pci/parameters/enable_sriov
fi
[ "$HEIRLOOM_E2E" != gone ] || export HEIRLOOM_E2E_DISK=0000:02:00.0
if [ "$HEIRLOOM_E2E" = disks ]; then
    export HEIRLOOM_E2E_DISK=0000:02:00.0 HEIRLOOM_E2E_OTHER_PF=0000:03:00.0 HEIRLOOM_E2E_OTHER=0000:04:00.0
    pci_bind $HEIRLOOM_E2E_OTHER virtio-pci
    # Two cards behind a bridge to conventional PCI, which the IOMMU cannot tell apart.
    for group in /sys/kernel/iommu_groups/*; do
        cards=$(grep -l 0x1af4 "$group"/devices/*/vendor | sed 's,/vendor$,,; s,.*/,,')
        [ "$(echo "$cards" | wc -l)" = 2 ] || continue
        HEIRLOOM_E2E_NEIGHBOUR=$(echo "$cards" | head -n 1) HEIRLOOM_E2E_NEIGHBOUR2=$(echo "$cards" | tail -n 1)
        export HEIRLOOM_E2E_NEIGHBOUR HEIRLOOM_E2E_NEIGHBOUR2
        pci_bind "$HEIRLOOM_E2E_NEIGHBOUR" vfio-pci
        pci_bind "$HEIRLOOM_E2E_NEIGHBOUR2" virtio-pci
    done
fi
exec ./host_vm_guests "$@"
END
chmod +x "$work/job.sh"

# QEMU as Debian has it, for the rigs where it takes Heirloom's place.
qemu=(--file "$(command -v qemu-system-x86_64):/usr/bin/qemu-system-x86_64"
    --file /usr/share/seabios/bios-256k.bin:/usr/share/qemu/bios-256k.bin)
for rom in kvmvapic linuxboot_dma pvh; do qemu+=(--file "/usr/share/qemu/$rom.bin:/usr/share/qemu/$rom.bin"); done

# vm RIG OPTIONS...: the tests of a rig, in a VM.
vm() {
    local rig=$1
    shift
    [[ $rig != disks && $rig != cards ]] || set -- "$@" "${qemu[@]}"
    "$host_vm" run --kernel vfio-6.12 --memory 2G --timeout 400 --env "HEIRLOOM_E2E=$rig" "$@" \
        --file "$heirloom:heirloom" --file "$guest:small-guest" --file "$test:host_vm_guests" \
        --file "$kernel/vmlinux:guests/vmlinux" --file "$tiny:guests/tiny.vmlinux" --file "$initramfs:guests/initramfs.cpio" \
        --file "$work/original.img:original.img" --file "$work/plain.img:plain.img" -- "$work/job.sh" ${HEIRLOOM_E2E_ONLY:+"$HEIRLOOM_E2E_ONLY"}
}

# served RIG SPEC-OF-VF0 SPEC-OF-VF1 OPTIONS...: with the software PF beside the VM.
served() {
    local rig=$1 code=0
    local serve="'$heirloom' soft-pf --socket-dir \"\$HOST_VM_SOCKETS\" --vf '$2' --vf '$3' --report '$work/$rig.json'"
    shift 3
    [[ $rig != old ]] || serve+=" --quirk loses-early-kicks"
    if [[ $rig == gone ]]; then
        serve="$serve & until grep -q KKKK '$work/signal.img'; do sleep 0.1; done; kill -9 \$!; sleep infinity"
    else
        serve="exec $serve"
    fi
    vm "$rig" --iommu --with "$serve" --with-log "$work/$rig.log" --device vfio-user=pf.sock,vf0.sock,vf1.sock "$@" ||
        code=$?
    ((code == 0)) || sed 's/^/  soft-pf: /' "$work/$rig.log" >&2
    return "$code"
}

disks() {
    local bridge=() device card=virtio-net-pci,bus=conventional,disable-legacy=on,iommu_platform=on,romfile=
    for device in pcie-root-port,id=to_bridge,chassis=90,slot=30,bus=pcie.0 \
        pcie-pci-bridge,id=conventional,bus=to_bridge "$card,addr=1" "$card,addr=2"; do
        bridge+=(--qemu-arg -device --qemu-arg "$device")
    done
    served disks "blk,file=$work/vf0.img" "blk,file=$work/vf1.img" \
        --device "disk=$work/disk.img" --device sriov-net=1 --device net "${bridge[@]}"
}
old() { served old "blk,file=$work/old0.img" "blk,file=$work/vf1.img"; }
cards() { served cards net,loopback net,loopback; }
gone() { served gone "blk,file=$work/vf0.img" "blk,file=$work/vf1.img" --device "disk=$work/signal.img"; }
off() { vm off --device "disk=$work/disk.img"; }

failed=0
for rig in "${rigs[@]}"; do
    "$rig" || failed=1
done
[[ -z ${HEIRLOOM_E2E_ONLY-} ]] || exit "$failed"
without=()
for rig in disks old cards; do
    [[ " ${rigs[*]} " == *" $rig "* ]] || without+=(--skip "report_of_the_$rig")
done
HEIRLOOM_E2E=reports HEIRLOOM_E2E_FOLDER=$work "$test" "${without[@]}" || failed=1
exit "$failed"
