# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What scripts/guest-disk, and booting what it makes, needs on a fresh Debian 12, as apt names. Sourced, never run.
GUEST_DISK_PACKAGES=(
    mmdebstrap
    arch-test   # for i386
    fakeroot    # without root
    e2fsprogs
    grub-common
    grub-pc-bin
    seabios     # its BIOS
)
