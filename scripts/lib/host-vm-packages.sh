# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/host-vm needs on a fresh Debian 12, as apt names. Sourced, never run.
# The virtual machine's kernel and its busybox are fetched into the cache instead, not installed.
# shellcheck disable=SC2034
HOST_VM_PACKAGES=(
    qemu-system-x86 # 7.2 is enough: its translator emulates SVM, nested paging included
    cpio            # initramfs
    kmod            # depmod
    xz-utils        # kernel modules
    zstd            # the 6.12 kernel itself
    lz4             # the 6.1 kernel itself
    gcc             # the TSC and KVM probes
    libc6-dev       # their headers and static libc
    # the kernel vfio-6.12, and modules
    bc
    binutils
    bison
    flex
    libelf-dev
    make
    mmdebstrap # QEMU 11 from Debian 13's backports
    pciutils   # lspci, setpci inside
    python3    # the self-test's vfio-user server
)
