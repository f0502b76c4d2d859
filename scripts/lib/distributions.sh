#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# distributions.sh [amd64|i386]...: runs the test distributions, a whole Debian 12 from its boot sector: on /dev/kvm if
# that runs guests at speed, else in the host VM, one VM for each architecture; the disk goes in as a virtio disk of the
# VM. Default: both.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$repo"
# shellcheck source=scripts/lib/test-program.sh
. scripts/lib/test-program.sh
host_vm=${HEIRLOOM_HOST_VM:-$repo/scripts/host-vm}
heirloom=${HEIRLOOM_BIN:-${CARGO_TARGET_DIR:-$repo/target}/release/heirloom}
kvm=${HEIRLOOM_KVM:-$(scripts/kvm-speed | cut -d' ' -f1)}
architectures=("$@")
((${#architectures[@]})) || architectures=(amd64 i386)

test=$(test_program distributions)
PATH=$PATH:/usr/sbin:/sbin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for architecture in "${architectures[@]}"; do
    disk=$(scripts/guest-disk --arch "$architecture")
    cp --sparse=always "$disk" "$work/disk.img"
    variable=HEIRLOOM_DISK_${architecture^^}
    if [[ $kvm == hardware ]]; then
        env "$variable=$work/disk.img" HEIRLOOM_KVM=hardware HEIRLOOM_BIN="$heirloom" "$test" || failed=1
        continue
    fi
    "$host_vm" run --kernel vfio-6.12 --timeout 1600 --device "disk=$work/disk.img" \
        --env HEIRLOOM_KVM=hardware --env HEIRLOOM_BIN=/job/heirloom --env HEIRLOOM_ROOT=/job \
        --env "$variable=/dev/vda" --file "$heirloom:heirloom" --file "$(command -v e2fsck):/sbin/e2fsck" \
        --file "$(command -v script):/usr/bin/script" \
        --file /usr/share/seabios/bios-256k.bin:/usr/share/seabios/bios-256k.bin -- "$test" || failed=1
done
exit "$failed"
