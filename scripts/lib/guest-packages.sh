# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What the guest scripts need beyond a minimal Debian 12, as package names.
# Sourced, not run: whoever prepares a machine installs these.

# scripts/guest-kernel stock: unpacks a kernel
GUEST_STOCK_PACKAGES=(dpkg apt python3 lz4 xz-utils zstd gzip kmod)

# scripts/guest-kernel tiny: compiles one
GUEST_KERNEL_PACKAGES=(
    "${GUEST_STOCK_PACKAGES[@]}"
    bc bison flex gcc libc6-dev libelf-dev libssl-dev make patch
)

# scripts/guest-initramfs: the init is C without a C library
GUEST_INITRAMFS_PACKAGES=(gcc python3 xz-utils zstd)

# scripts/check-guest-images, which is optional
GUEST_CHECK_PACKAGES=(qemu-system-x86 seabios)
