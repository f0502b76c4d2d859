# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# The host VM's own kernel (vfio-6.12), compiled from Debian's kernel source, and the modules that its kernels
# take along: sriovshim, ours, and virtio_vfio_pci, Linux' own. Sourced by scripts/host-vm, never run.

# shellcheck source=scripts/lib/host-vm-common.sh
. "$(dirname "${BASH_SOURCE[0]}")/host-vm-common.sh"

OWN=$repo/resources/host-vm
OWN_SOURCE=linux-source-6.12
# What compiling kernels and modules needs beyond what any kernel needs.
BUILD_TOOLS=(make flex bison bc objcopy /usr/include/libelf.h)
# Part of the kernel's key: raise it when own_kernel_build below changes its outcome.
OWN_RECIPE=1

# hash_of FILE...: over names and contents.
hash_of() {
    local file
    for file; do
        printf '%s\n' "${file##*/}"
        cat "$file"
    done | sha256sum | head -c 16
}

# with_lock NAME FUNCTION ARGS...: one process at a time. Descriptor 7 must not live on in a QEMU.
with_lock() {
    local name=$1
    shift
    (
        if ! flock -n 7; then
            say "another process is making $name; waiting for it"
            flock 7
        fi
        "$@" 7>&-
    ) 7>"$cache/$name.lock"
}

# quietly WHAT COMMAND...: a line before and after; what the command says only if it fails.
quietly() {
    local what=$1 from=$SECONDS log
    shift
    log=$(mktemp)
    say "$what ..."
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "$what: failed after $((SECONDS - from)) s"
    fi
    rm -f "$log"
    say "$what: $((SECONDS - from)) s"
}

# source_version: what apt offers. The kernel is made anew when this changes.
source_version() {
    local version
    version=$(apt-cache policy "$OWN_SOURCE" | awk '/Candidate:/ { print $2 }')
    [[ $version == [0-9]* ]] || die "apt offers no $OWN_SOURCE; it is in Debian 12's security archive"
    printf '%s\n' "${version//[:~]/_}"
}

# --- the kernel ------------------------------------------------------------------------------------

# Every line of the fragment has to have taken effect; else a kernel without, say, IOMMUFD would be built
# and nobody would know why.
check_config() {
    local config=$1 fragment=$2 line symbol bad=()
    while read -r line; do
        case $line in
            CONFIG_*) grep -qxF "$line" "$config" || bad+=("$line") ;;
            '# CONFIG_'*' is not set')
                symbol=${line#\# }
                ! grep -q "^${symbol%% *}=" "$config" || bad+=("$line")
                ;;
        esac
    done <"$fragment"
    ((${#bad[@]} == 0)) || die "the kernel configuration did not take: ${bad[*]}"
}

# unpack_source DEB: into ./source. Drivers and processors that are not compiled only leave their Kconfig files.
unpack_source() {
    mkdir source
    dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$OWN_SOURCE.tar.xz" |
        tar -xJ -C source --strip-components=1 \
            --exclude='*/Documentation/*/*' --exclude='*/tools/testing/*' \
            --exclude='*/arch/[!x]*/*.[chS]' --exclude='*/arch/*/*.dts*' \
            --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/infiniband/*.[ch]' \
            --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/net/ethernet/*.[ch]' \
            --exclude='*/drivers/net/wireless/*.[ch]' --exclude='*/drivers/scsi/*.[ch]' \
            --exclude='*/drivers/staging/*.[ch]' --exclude='*/sound/*.[ch]'
}

# own_kernel_build TARGET, in a subshell, whose end cleans up after a failure too. Leaves
#   vmlinux, bzImage, config, System.map
#   kit            what modules are compiled against
#   virtio-vfio    the source of virtio_vfio_pci, for the stock kernels
#   virtio-vfio-pci.ko
own_kernel_build() (
    target=$1
    [[ ! -e $target/config ]] || exit 0
    work=$target.$$
    trap 'rm -rf "$work"' EXIT
    rm -rf "$work"
    mkdir -p "$work/result"
    # Not kept: 150 MB that are wanted once.
    deb=$(fetch_deb "$OWN_SOURCE" "$work")
    cd "$work" || exit
    quietly "unpacking ${deb##*/}" unpack_source "$deb"
    rm -f "$deb"
    # Nothing of the machine or the day goes into the kernel.
    export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_VERSION=1
    export KBUILD_BUILD_USER=heirloom KBUILD_BUILD_HOST=heirloom
    make=(nice make -s -j"$(nproc)" -C source O="$work/build" ARCH=x86_64)
    mkdir build
    # Wishes come last, and are not checked.
    cat "$OWN/kernel/vfio.config" "$OWN/kernel/wish.config" >build/all.config
    quietly 'configuring the kernel' "${make[@]}" KCONFIG_ALLCONFIG="$work/build/all.config" allnoconfig
    check_config build/.config "$OWN/kernel/vfio.config"
    quietly 'compiling the kernel (about 4 minutes on two idle processors)' "${make[@]}" bzImage modules
    # shellcheck disable=SC2016
    quietly 'gathering what modules need' "${make[@]}" run-command \
        KBUILD_RUN_COMMAND='${srctree}/scripts/package/install-extmod-build '"$work/result/kit"
    objcopy -S build/vmlinux result/vmlinux
    cp build/arch/x86/boot/bzImage build/System.map result/
    cp build/drivers/vfio/pci/virtio/virtio-vfio-pci.ko result/
    cp build/.config result/config
    cp build/include/config/kernel.release result/release
    cp -r source/drivers/vfio/pci/virtio result/virtio-vfio
    rm -rf "$target"
    mv -T result "$target"
    # Older ones; other working trees may still use those of the last days.
    find "${target%/*}" -mindepth 1 -maxdepth 1 -name 'kernel-*' -mtime +7 -exec rm -rf {} +
)

# own_kernel: compiles it unless it is there, prints its folder.
own_kernel() {
    local target
    target=$cache/built/kernel-$(source_version)-$(
        {
            hash_of "$OWN"/kernel/*.config
            gcc -dumpfullversion
            echo "$OWN_RECIPE"
        } | sha256sum | head -c 16
    ) || return
    mkdir -p "$cache/built"
    [[ -e $target/config ]] || with_lock own-kernel own_kernel_build "$target" >&2
    printf '%s\n' "$target"
}

# --- modules ---------------------------------------------------------------------------------------

# build_module SOURCE KIT TARGET: compiles the module in a copy of the folder SOURCE.
build_module() {
    local work=$3/.build
    rm -rf "$work"
    mkdir -p "$work"
    cp -r "$1/." "$work/"
    # Without the type information (BTF) that Debian's kernels want and whose tools are not needed otherwise.
    quietly "compiling ${1##*/}" make -s -C "$2" M="$work" CONFIG_DEBUG_INFO_BTF_MODULES= modules
    mv "$work"/*.ko "$3/"
    rm -rf "$work"
}

# stock_kit VERSION TARGET: the header packages of a stock kernel, unpacked where they find each other.
stock_kit() {
    local version=$1 target=$2 headers=linux-headers-$1 deb package kbuild
    kbuild=$(apt-cache depends "$headers" 2>/dev/null | awk '/Depends: linux-kbuild-/ { print $2 }')
    [[ -n $kbuild ]] || die "apt offers no $headers, the headers of this kernel; prepare a newer kernel"
    mkdir -p "$target"
    for package in "$headers" "$(apt-cache depends "$headers" | awk '/Depends: linux-headers-.*-common/ { print $2 }')" "$kbuild"; do
        deb=$(fetch_deb "$package")
        dpkg-deb -x "$deb" "$target"
    done
    # Its Makefile names the common part by its installed path; the other way is a link that dangles.
    sed -i "s,/usr/src/,$target/usr/src/,g" "$target/usr/src/$headers/Makefile"
    for package in scripts tools; do
        ln -sfn "$target/usr/lib/$kbuild/$package" "$target/usr/src/$headers/$package"
    done
}

# virtio_vfio_source TARGET: the folder drivers/vfio/pci/virtio of the kernel source, as a module of its own.
virtio_vfio_source() {
    local target=$1 made deb
    made=$cache/built/virtio-vfio-$(source_version)
    if [[ ! -e $made/Makefile ]]; then
        for deb in "$cache"/built/kernel-"$(source_version)"-*/virtio-vfio; do
            [[ ! -e $deb/Makefile ]] || made=$deb
        done
    fi
    if [[ ! -e $made/Makefile ]]; then
        mkdir -p "$made.$$"
        deb=$(fetch_deb "$OWN_SOURCE" "$made.$$")
        dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/src/$OWN_SOURCE.tar.xz" |
            tar -xJ -C "$made.$$" --strip-components=5 --wildcards '*/drivers/vfio/pci/virtio/*'
        rm -f "$deb"
        mv -T "$made.$$" "$made"
    fi
    mkdir -p "$target"
    cp "$made"/*.[ch] "$target/"
    # shellcheck disable=SC2016 # make's variable
    # Its Makefile asks for CONFIG_VIRTIO_VFIO_PCI, which Debian's configuration does not have.
    sed 's/\$(CONFIG_VIRTIO_VFIO_PCI)/m/' "$made/Makefile" >"$target/Kbuild"
}

# stock_modules_build VERSION TARGET
stock_modules_build() (
    target=$2
    [[ ! -e $target/sriovshim.ko ]] || exit 0
    work=$target.$$
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work/result"
    stock_kit "$1" "$work/kit"
    virtio_vfio_source "$work/virtio-vfio"
    build_module "$work/virtio-vfio" "$work/kit/usr/src/linux-headers-$1" "$work/result"
    build_module "$OWN/modules/sriovshim" "$work/kit/usr/src/linux-headers-$1" "$work/result"
    rm -rf "$target"
    mv -T "$work/result" "$target"
)

# stock_modules VERSION: the two modules for that stock kernel; prints their folder.
stock_modules() {
    local target
    install_packages "${BUILD_TOOLS[@]}"
    [[ $1 == 6.12.* ]] || die "the kernel $1 is too old for --modules: virtio_vfio_pci came with 6.7"
    target=$cache/built/modules-$1-$(hash_of "$OWN"/modules/*/* "$lib/host-vm-kernel.sh")
    mkdir -p "$cache/built"
    [[ -e $target/sriovshim.ko ]] || with_lock stock-modules stock_modules_build "$1" "$target" >&2
    printf '%s\n' "$target"
}
