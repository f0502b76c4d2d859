#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# extlinux-partition.sh FILE: makes the image of an ext2 partition with EXTLINUX in it, for tests/tests/firmware. As root,
# since EXTLINUX installs itself into a mounted file system only. With /dev/null as FILE it only tries whether that works.
set -eu
PATH=$PATH:/usr/sbin:/sbin
# The partition of a disk of 16 MiB that begins at 1 MiB.
KIB=15360

work=$(mktemp -d)
trap 'umount "$work/mounted" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/mounted"
truncate -s "${KIB}K" "$work/partition.img"
# EXTLINUX reads nothing younger than ext2 without surprises: no 64-bit block numbers, no checksums.
mke2fs -q -t ext2 -L extlinux "$work/partition.img"
mount -o loop "$work/partition.img" "$work/mounted"
extlinux --install "$work/mounted"
umount "$work/mounted"
[ "$1" = /dev/null ] || cp "$work/partition.img" "$1"
