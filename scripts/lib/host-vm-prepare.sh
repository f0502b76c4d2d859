# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# How scripts/host-vm gets its kernel and initramfs into the cache. Sourced, never run.

# shellcheck source=scripts/lib/host-vm-common.sh
. "$(dirname "${BASH_SOURCE[0]}")/host-vm-common.sh"
# shellcheck source=scripts/lib/host-vm-packages.sh
. "$lib/host-vm-packages.sh"
# shellcheck source=scripts/lib/host-vm-kernel.sh
. "$lib/host-vm-kernel.sh"
# shellcheck source=scripts/lib/host-vm-qemu.sh
. "$lib/host-vm-qemu.sh"

# depmod lives where an ordinary user's PATH does not lead.
PATH+=:/usr/sbin:/sbin
KERNELS=(stock-6.12 stock-6.1 vfio-6.12)
# In load order; modules.dep adds what they need, and what a kernel has built in is passed over.
MODULES=(virtio_pci virtio_console irqbypass ccp kvm kvm-amd tun)
# Loaded where there are devices to pass through.
VFIO_MODULES=(vfio vfio_iommu_type1 vfio-pci virtio_blk virtio_net)
PCI_TOOLS=(lspci setpci)

# What is made depends on these files too, so a change to them makes it anew. (Of the own kernel's parts,
# which have keys of their own, only what changed.)
recipe_hash() {
    hash_of "$lib/host-vm-prepare.sh" "$lib/host-vm-kernel.sh" "$lib/host-vm-init" "$lib/host-vm-jobs.sh" \
        "$OWN"/kernel/* "$OWN"/modules/*/*
}

check_kernel_name() {
    local name
    for name in "${KERNELS[@]}"; do
        [[ $1 != "$name" ]] || return 0
    done
    usage_error "no kernel '$1'; there are: ${KERNELS[*]}"
}

# The package behind a kernel name. The meta package names today's version: an exact one would be
# gone from the mirrors after the next security update.
kernel_package() {
    local meta
    case $1 in
        stock-6.12) meta=linux-image-6.12-cloud-amd64 ;;
        stock-6.1) meta=linux-image-cloud-amd64 ;;
    esac
    apt-cache depends "$meta" 2>/dev/null | awk '/^ *Depends: linux-image-/ { print $2 }'
}

# missing_tools MORE...: what is not there of what every kernel needs and of MORE, commands or files.
missing_tools() {
    local tool
    for tool in qemu-system-x86_64 cpio xz zstd lz4 depmod gcc dpkg-deb apt-get "${PCI_TOOLS[@]}" "$@"; do
        [[ $tool == /* && -e $tool ]] || command -v "$tool" >/dev/null || printf '%s ' "$tool"
    done
    # gcc alone cannot make static programs.
    [[ -e $(gcc -print-file-name=libc.a 2>/dev/null) ]] || printf 'libc.a '
}

# install_packages MORE...: if any of those tools is missing.
install_packages() {
    local missing
    missing=$(missing_tools "$@")
    [[ -n $missing ]] || return 0
    if ((EUID != 0)); then
        die "missing: $missing- as root: apt-get install --no-install-recommends ${HOST_VM_PACKAGES[*]}"
    fi
    say "missing: $missing- installing ${HOST_VM_PACKAGES[*]}"
    apt_update_once
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${HOST_VM_PACKAGES[@]}" >&2
    missing=$(missing_tools "$@")
    [[ -z $missing ]] || die "still missing after the installation: $missing"
}

# A fresh container has no package lists at all.
apt_update_once() {
    if [[ $(apt-cache policy linux-image-cloud-amd64 2>/dev/null) == *Candidate:\ [0-9]* ]]; then
        return 0
    fi
    ((EUID == 0)) || die 'apt has no package lists; as root: apt-get update'
    say 'apt has no package lists; fetching them'
    apt-get update -q >&2
}

# fetch_deb PACKAGE [FOLDER]: the newest version's .deb, from the cache (or FOLDER) or from the mirror apt uses.
fetch_deb() {
    local package=$1 folder=${2:-$cache/debs} line file
    mkdir -p "$folder"
    # 'URL' FILE SIZE HASH; nothing for a file that lies in the working directory.
    line=$(cd / && apt-get download --print-uris "$package" 2>/dev/null | tail -n 1)
    file=$(awk '{ print $2 }' <<<"$line")
    [[ -n $file ]] || die "apt knows no package $package"
    if [[ ! -e $folder/$file ]]; then
        say "downloading $file"
        local dir=$folder/.download.$$
        mkdir -p "$dir"
        # Privileges are not dropped to apt's own user, who may not write here.
        (cd "$dir" && apt-get download -q -o APT::Sandbox::User=root "$package" >&2) || {
            rm -rf "$dir"
            die "cannot download $package"
        }
        mv -f "$dir/$file" "$folder/$file"
        rmdir "$dir"
    fi
    printf '%s\n' "$folder/$file"
}

# unpack_kernel BZIMAGE VMLINUX: without it the VM unpacks its kernel itself, in emulation. The boot
# protocol's header says where the compressed kernel lies and how long it is.
unpack_kernel() {
    local image=$1 sectors offset length magic
    field() { od -An -t "u$2" -j "$1" -N "$2" --endian=little "$image" | tr -d ' '; }
    sectors=$(field $((0x1f1)) 1)
    offset=$(field $((0x248)) 4)
    length=$(field $((0x24c)) 4)
    offset=$((offset + (sectors + 1) * 512))
    payload() { dd if="$image" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$1" status=none; }
    magic=$(od -An -t x1 -j "$offset" -N 4 "$image" | tr -d ' ')
    case $magic in
        # The kernel's build adds the unpacked size, which decompressors would take for garbage;
        # gzip has it in its own format.
        28b52ffd) payload $((length - 4)) | zstd -dcq ;;
        fd377a58) payload $((length - 4)) | xz -dc ;;
        02214c18) payload $((length - 4)) | lz4 -dcq ;;
        1f8b*) payload "$length" | gzip -dc ;;
        *) die "the kernel is packed in an unknown way (it begins with $magic)" ;;
    esac >"$2"
    [[ $(head -c 4 "$2") == $'\x7fELF' ]] || die 'the unpacked kernel is no ELF file'
}

# copy_modules MODULE_TREE TARGET ORDER NAME...: those modules and what they depend on, unpacked, their load order
# in TARGET/ORDER, and in TARGET/needs what each depends on.
copy_modules() {
    local tree=$1 target=$2 order=$3 name path dep line
    shift 3
    mkdir -p "$target"
    : >"$target/$order"
    depmod_lines() { sed -n "s,^\(.*/$1\.ko[.a-z]*\):\(.*\)$,\1 \2,p" "$tree/modules.dep"; }
    for name; do
        # modules.dep gives a module and its dependencies, the deepest one last.
        line=$(depmod_lines "${name//[-_]/[-_]}")
        for path in $(tr ' ' '\n' <<<"$line" | tac); do
            dep=${path##*/}
            dep=${dep%.ko*}.ko
            grep -qxF "$dep" "$target/$order" || printf '%s\n' "$dep" >>"$target/$order"
            [[ ! -e $target/$dep ]] || continue
            case $path in
                *.xz) xz -dc "$tree/$path" ;;
                *.zst) zstd -dcq "$tree/$path" ;;
                *) cat "$tree/$path" ;;
            esac >"$target/$dep"
            module_needs "$target/$dep" >>"$target/needs"
        done
    done
}

# module_needs FILE: a line for the file `needs`: the module's name and those it depends on, with underscores.
module_needs() { printf '%s %s\n' "$(basename "$1" .ko)" "$(modinfo -F depends "$1" | tr , ' ')" | tr - _; }

pack_cpio() { (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet); }

# fill_root ROOT BUSYBOX_DEB VERSION: all of the initramfs but modules.
fill_root() {
    local root=$1 version=$3 tool path
    mkdir -p "$root/bin" "$root/lib/host-vm-modules" "$root/dev" "$root/job" "$root/busybox"
    dpkg-deb -x "$2" "$root/busybox"
    install -m 755 "$(find "$root/busybox" -name busybox -type f -perm /111)" "$root/bin/busybox"
    rm -rf "$root/busybox"
    ln -s busybox "$root/bin/sh"
    install -m 755 "$lib/host-vm-init" "$root/init"
    install -m 644 "$lib/host-vm-jobs.sh" "$root/lib/host-vm.sh"
    for tool in "${PCI_TOOLS[@]}"; do
        install -m 755 "$(command -v "$tool")" "$root/bin/$tool"
        while read -r path; do
            install -D -m 755 "$path" "$root$path"
        done < <(ldd "$(command -v "$tool")" | grep -o '/[^ ]*')
    done
    # lspci complains without an index of modules, even of none.
    mkdir -p "$root/lib/modules/$version"
    touch "$root/lib/modules/$version"/modules.{order,builtin,builtin.modinfo}
    depmod -b "$root" "$version"
    touch "$root/lib/host-vm-modules"/{order,order-vfio,needs}
}

# The builders below run in subshells, whose end cleans up after a failure too.

# build_stock KERNEL_DEB BUSYBOX_DEB TARGET
build_stock() (
    work=$3.$$
    trap 'rm -rf "$work"' EXIT
    rm -rf "$work"
    mkdir -p "$work"
    dpkg-deb -x "$1" "$work/kernel"
    version=$(basename "$work"/kernel/boot/vmlinuz-*)
    version=${version#vmlinuz-}
    unpack_kernel "$work/kernel/boot/vmlinuz-$version" "$work/vmlinux"

    root=$work/root
    modules=$work/kernel/lib/modules/$version
    # Packages leave modules.dep to their installation.
    depmod -b "$work/kernel" "$version"
    fill_root "$root" "$2" "$version"
    copy_modules "$modules" "$root/lib/host-vm-modules" order "${MODULES[@]}"
    copy_modules "$modules" "$root/lib/host-vm-modules" order-vfio "${VFIO_MODULES[@]}"
    [[ -e $root/lib/host-vm-modules/kvm-amd.ko ]] || die 'the kernel package has no kvm-amd module'
    pack_cpio "$root" >"$work/base.cpio"
    printf '%s\n' "$version" >"$work/version"
    printf 'kernel %s\nbusybox %s\n' "$version" "$(dpkg-deb -f "$2" Version)" >"$work/manifest"
    rm -rf "$work/kernel" "$root" "$3"
    mv -T "$work" "$3"
)

# build_own KERNEL_FOLDER BUSYBOX_DEB TARGET
build_own() (
    work=$3.$$
    trap 'rm -rf "$work"' EXIT
    rm -rf "$work"
    mkdir -p "$work"
    root=$work/root
    modules=$root/lib/host-vm-modules
    fill_root "$root" "$2" "$(cat "$1/release")"
    cp "$1/virtio-vfio-pci.ko" "$modules/"
    build_module "$OWN/modules/sriovshim" "$1/kit" "$modules"
    for module in "$modules"/*.ko; do module_needs "$module"; done >"$modules/needs"
    pack_cpio "$root" >"$work/base.cpio"
    # A nested guest may want them in other forms.
    cp "$1/vmlinux" "$1/bzImage" "$1/config" "$work/"
    cp "$1/release" "$work/version"
    printf 'kernel %s\nbusybox %s\n' "$(cat "$1/release")" "$(dpkg-deb -f "$2" Version)" >"$work/manifest"
    rm -rf "$root" "$3"
    mv -T "$work" "$3"
)

# The folder that `run` uses for a kernel. It is a link, replaced as a whole.
current() { printf '%s/%s-%s\n' "$cache" "$1" "$(recipe_hash)"; }

prepare() {
    local name=$1 package kernel busybox_deb key target
    mkdir -p "$cache"
    if [[ $name == vfio-* ]]; then
        # Takes minutes, under a lock of its own, so that others can have a stock kernel meanwhile.
        install_packages "${BUILD_TOOLS[@]}"
        apt_update_once
        kernel=$(own_kernel)
    fi
    # Two at a time would download twice; nothing worse, since results are moved into place.
    exec 8>"$cache/lock"
    flock 8
    install_packages
    apt_update_once
    if [[ $name != vfio-* ]]; then
        package=$(kernel_package "$name")
        [[ -n $package ]] || die "apt offers no kernel for $name; is the security archive among its sources?"
        kernel=$(fetch_deb "$package")
    fi
    busybox_deb=$(fetch_deb busybox-static)
    key=$(printf '%s\n' "${kernel##*/}" "${busybox_deb##*/}" "$(recipe_hash)" | sha256sum | head -c 16)
    target=$cache/built/$name-$key
    if [[ ! -e $target/manifest ]]; then
        say "building $name from ${kernel##*/}"
        mkdir -p "$cache/built"
        # What older recipes made. A run reads its files in its first seconds, so an hour is ample.
        find "$cache" "$cache/built" -mindepth 1 -maxdepth 1 -name "$name-*" -mmin +60 -exec rm -rf {} +
        case $name in
            vfio-*) build_own "$kernel" "$busybox_deb" "$target" ;;
            *) build_stock "$kernel" "$busybox_deb" "$target" ;;
        esac
    fi
    ln -sfn "built/$name-$key" "$cache/.link.$$"
    mv -fT "$cache/.link.$$" "$(current "$name")"
    compiled tsc-khz >/dev/null
    compiled kvm-speed >/dev/null
    exec 8>&-
    say "$name is ready: $(tr '\n' ' ' <"$target/manifest")"
}

prepare_if_needed() {
    if [[ ! -e $(current "$1")/manifest ]] || ! command -v qemu-system-x86_64 >/dev/null; then
        prepare "$1"
    fi
}
