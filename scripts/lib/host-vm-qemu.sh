# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A QEMU that has vfio-user-pci and SR-IOV: this machine's own where it is new enough, else the one of Debian 13's
# backports, unpacked beside the system and run with its own libraries. Sourced by scripts/host-vm, never run.

# shellcheck source=scripts/lib/host-vm-common.sh
. "$(dirname "${BASH_SOURCE[0]}")/host-vm-common.sh"
# shellcheck source=scripts/lib/debian-mirror.sh
. "$(dirname "${BASH_SOURCE[0]}")/debian-mirror.sh"

# Raise it when qemu_tree_build changes its outcome.
QEMU_RECIPE=1
QEMU_SUITE=trixie

# Devices that only newer versions know. (-device help would load every module, display and all.)
qemu_is_new() { "$@" -device vfio-user-pci,help 2>/dev/null </dev/null | grep -q socket; }

# qemu_tree_build TARGET, in a subshell, whose end cleans up after a failure too.
qemu_tree_build() (
    target=$1
    [[ ! -e $target/manifest ]] || exit 0
    work=$target.$$
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work"
    mirror=$(debian_mirror)
    [[ -n $mirror ]] || die 'apt knows no Debian mirror, so QEMU cannot be fetched; is this Debian?'
    # Backports only where they are meant, and what those need.
    cat >"$work/preferences" <<PIN
Package: *
Pin: release n=$QEMU_SUITE-backports
Pin-Priority: 100

Package: qemu-* seabios
Pin: release n=$QEMU_SUITE-backports
Pin-Priority: 990
PIN
    options=(--aptopt='APT::Install-Recommends "false"')
    proxy=$(apt-config shell proxy Acquire::http::Proxy)
    [[ -z $proxy ]] || options+=(--aptopt="Acquire::http::Proxy \"$(eval "$proxy" && printf '%s' "$proxy")\"")
    # Unpacked, not installed: no program of these packages runs, and they meet none of this system's.
    quietly "fetching QEMU from $QEMU_SUITE-backports" mmdebstrap --variant=extract --skip=update-check "${options[@]}" \
        --setup-hook="mkdir -p \"\$1/etc/apt/preferences.d\" && cp '$work/preferences' \"\$1/etc/apt/preferences.d/backports\"" \
        --include=qemu-system-x86 "$QEMU_SUITE" "$work/tree" \
        "deb $mirror $QEMU_SUITE main" "deb $mirror $QEMU_SUITE-backports main"
    mkdir -p "$work/result/bin" "$work/result/lib" "$work/result/share/qemu" "$work/result/share/seabios"
    cp "$work/tree/usr/bin/qemu-system-x86_64" "$work/result/bin/"
    cp -a "$work/tree/usr/lib/x86_64-linux-gnu/." "$work/result/lib/"
    cp "$work"/tree/usr/share/qemu/*.bin "$work/result/share/qemu/"
    cp "$work"/tree/usr/share/seabios/bios*.bin "$work/result/share/seabios/"
    cat >"$work/result/qemu" <<'RUN'
#!/bin/sh
# Its own loader and libraries; none of them is looked for in the system.
tree=$(dirname "$(realpath "$0")")
export QEMU_MODULE_DIR="$tree/lib/qemu"
exec "$tree/lib/ld-linux-x86-64.so.2" --library-path "$tree/lib" --argv0 qemu-system-x86_64 \
    "$tree/bin/qemu-system-x86_64" -L "$tree/share/qemu" -L "$tree/share/seabios" "$@"
RUN
    chmod +x "$work/result/qemu"
    qemu_is_new "$work/result/qemu" ||
        die "the QEMU of $QEMU_SUITE-backports has no vfio-user-pci: $("$work/result/qemu" --version 2>&1 | head -n 1)"
    "$work/result/qemu" --version | head -n 1 >"$work/result/manifest"
    rm -rf "$target"
    mv -T "$work/result" "$target"
)

qemu_tree() { printf '%s\n' "$cache/built/qemu-$QEMU_SUITE-$QEMU_RECIPE"; }

# new_qemu: prints the program; fetches it where this machine's own is too old.
new_qemu() {
    local own tree
    if own=$(command -v qemu-system-x86_64) && qemu_is_new "$own"; then
        printf '%s\n' "$own"
        return
    fi
    tree=$(qemu_tree)
    if [[ ! -e $tree/manifest ]]; then
        install_packages mmdebstrap
        mkdir -p "$cache/built"
        # Not "with_lock ... ||": errexit would be off in it.
        with_lock qemu qemu_tree_build "$tree" >&2 &
        wait $! ||
            die "devices need QEMU 11 with vfio-user-pci. Debian $QEMU_SUITE's backports could not be fetched (see above); with network access run this again, or put such a qemu-system-x86_64 first in PATH"
    fi
    printf '%s\n' "$tree/qemu"
}
