#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# guests-in-host-vm.sh small_guests|linux_guests|firmware [TEST-ARGUMENTS...]: runs that test of tests/tests inside the
# host VM, where nested KVM runs guests at speed.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
# shellcheck source=scripts/lib/test-program.sh
. scripts/lib/test-program.sh
name=$1
heirloom=${HEIRLOOM_BIN:-$repo/target/release/heirloom}

PATH=$PATH:/usr/sbin:/sbin
test=$(test_program "$name")

files=(--file "$heirloom:heirloom")
# Room for guests with 4 GiB where this machine has it; else those are skipped, and say so.
available=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo)
memory=3G
((available < 10)) || memory=7G
case $name in
    small_guests)
        files+=(--file "$("$repo/scripts/lib/small-guest.sh"):small-guest")
        ;;
    firmware)
        # What makes the disk images of boot loaders; mtools asks the C library for DOS's character set.
        for tool in mformat mcopy mattrib mmove; do files+=(--file "$(command -v mtools):/usr/bin/$tool"); done
        for path in "$(command -v script)" "$(command -v grub-mkimage)" "$(command -v syslinux)" /usr/lib/grub/i386-pc \
            /usr/lib/syslinux/mbr/mbr.bin /usr/share/seabios/{bios,bios-256k,vgabios-isavga}.bin \
            /usr/lib/x86_64-linux-gnu/gconv /usr/lib/grub/x86_64-pc/stage{1,2}; do
            files+=(--file "$path:$path")
        done
        # What EXTLINUX is installed into is made here, where there are loop devices.
        extlinux=$(mktemp)
        trap 'rm -f "$extlinux"' EXIT
        if scripts/lib/extlinux-partition.sh "$extlinux" 2>/dev/null; then
            files+=(--file "$extlinux:extlinux.img" --env HEIRLOOM_EXTLINUX_PARTITION=/job/extlinux.img)
            files+=(--file /usr/lib/EXTLINUX/mbr.bin:/usr/lib/EXTLINUX/mbr.bin --file "$(command -v debugfs):/sbin/debugfs")
        fi
        files+=(--file /usr/lib/u-boot/qemu-x86/u-boot.rom:/usr/lib/u-boot/qemu-x86/u-boot.rom)
        # For boots from the network, one of them of Debian's kernel; dnsmasq asks who root is.
        files+=(--file "$(command -v dnsmasq):/usr/bin/dnsmasq" --file /etc/passwd:/etc/passwd)
        files+=(--file /usr/lib/ipxe/qemu/pxe-virtio.rom:/usr/lib/ipxe/qemu/pxe-virtio.rom)
        scripts/lib/guests.sh stock-only
        for guest in stock.bzImage initramfs-stock.cpio; do
            files+=(--file "$(readlink -f "target/guests/$guest"):guests/$guest")
        done
        ;;
    linux_guests)
        for guest in target/guests/*; do files+=(--file "$(readlink -f "$guest"):guests/${guest##*/}"); done
        ;;
esac

# in_vm HOST-VM-ARGUMENTS... -- TEST-ARGUMENTS...
in_vm() {
    local options=()
    while [[ $1 != -- ]]; do options+=("$1") && shift; done
    scripts/host-vm run "${options[@]}" --memory "$memory" --timeout 900 --env HEIRLOOM_KVM=hardware \
        --env HEIRLOOM_BIN=/job/heirloom --env HEIRLOOM_SMALL_GUEST=/job/small-guest \
        --env HEIRLOOM_GUESTS=/job/guests --env HEIRLOOM_ROOT=/job "${files[@]}" -- "$test" --test-threads=1 "${@:2}"
}

failed=0
if [[ $name != linux_guests ]]; then
    in_vm -- "${@:2}" || failed=1
else
    in_vm -- --skip stock_pae "${@:2}" || failed=1
    # QEMU's emulation gets the page directory pointers of such guests wrong with nested paging.
    ((${#@} > 1)) || in_vm --kernel vfio-6.12 --shadow-paging -- stock_pae || failed=1
fi
exit "$failed"
