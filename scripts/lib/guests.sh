#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# guests.sh KVM [OUT]: gathers kernels and initramfs images of test guests under fixed names in
# OUT (default target/guests), for tests/tests/linux_guests.rs. What takes long is cached by the scripts it calls.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
kvm=$1
out=${2:-$repo/target/guests}
kernel=$repo/scripts/guest-kernel
initramfs=$repo/scripts/guest-initramfs
mkdir -p "$out"

put() { ln -sfn "$2" "$out/$1"; }

# Stock kernels first: they are only downloaded, and the demo needs nothing else.
put stock.vmlinux "$("$kernel" stock --print vmlinux)"
put stock.bzImage "$("$kernel" stock --print bzimage)"
put initramfs-stock.cpio "$("$initramfs" --modules "$("$kernel" stock --print modules)")"
[[ $kvm != stock-only ]] || exit 0

# 32 bits with PAE, as most distributions had them.
put stock-i386.bzImage "$("$kernel" stock --arch i386 --print bzimage)"
put initramfs-stock-i386.cpio "$("$initramfs" --arch i386 --modules "$("$kernel" stock --arch i386 --print modules)")"
put initramfs-x86_64.cpio "$("$initramfs" --arch x86_64)"
put initramfs-i386.cpio "$("$initramfs" --arch i386)"
put tiny-x86_64.vmlinux "$("$kernel" tiny --arch x86_64 --print vmlinux)"
put tiny-x86_64.bzImage "$("$kernel" tiny --arch x86_64 --print bzimage)"
put tiny-i386.vmlinux "$("$kernel" tiny --arch i386 --print vmlinux)"
put tiny-i386.bzImage "$("$kernel" tiny --arch i386 --print bzimage)"
ls -lL "$out"
