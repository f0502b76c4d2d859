# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# How scripts/host-vm gets its kernel and initramfs into the cache. Sourced, never run.

# shellcheck source=scripts/lib/host-vm-common.sh
. "$(dirname "${BASH_SOURCE[0]}")/host-vm-common.sh"
# shellcheck source=scripts/lib/host-vm-packages.sh
. "$lib/host-vm-packages.sh"

# depmod lives where an ordinary user's PATH does not lead.
PATH+=:/usr/sbin:/sbin
KERNELS=(stock-6.12 stock-6.1)
# In load order; modules.dep adds what they need, and what a kernel has built in is passed over.
MODULES=(virtio_pci virtio_console irqbypass ccp kvm kvm-amd tun)

# What is made depends on these files too, so a change to them makes it anew.
recipe_hash() { cat "$lib/host-vm-prepare.sh" "$lib/host-vm-init" | sha256sum | head -c 16; }

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

missing_tools() {
    local tool
    for tool in qemu-system-x86_64 cpio xz zstd lz4 depmod gcc dpkg-deb apt-get; do
        command -v "$tool" >/dev/null || printf '%s ' "$tool"
    done
    # gcc alone cannot make static programs.
    [[ -e $(gcc -print-file-name=libc.a 2>/dev/null) ]] || printf 'libc.a '
}

install_packages() {
    local missing
    missing=$(missing_tools)
    [[ -n $missing ]] || return 0
    if ((EUID != 0)); then
        die "missing: $missing- as root: apt-get install --no-install-recommends ${HOST_VM_PACKAGES[*]}"
    fi
    say "missing: $missing- installing ${HOST_VM_PACKAGES[*]}"
    apt_update_once
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${HOST_VM_PACKAGES[@]}" >&2
    missing=$(missing_tools)
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

# fetch_deb PACKAGE: the newest version's .deb, from the cache or from the mirror apt uses.
fetch_deb() {
    local package=$1 line file
    mkdir -p "$cache/debs"
    # 'URL' FILE SIZE HASH
    line=$(apt-get download --print-uris "$package" 2>/dev/null | tail -n 1)
    file=$(awk '{ print $2 }' <<<"$line")
    [[ -n $file ]] || die "apt knows no package $package"
    if [[ ! -e $cache/debs/$file ]]; then
        say "downloading $file"
        local dir=$cache/debs/.download.$$
        mkdir -p "$dir"
        # Privileges are not dropped to apt's own user, who may not write here.
        (cd "$dir" && apt-get download -q -o APT::Sandbox::User=root "$package" >&2) || {
            rm -rf "$dir"
            die "cannot download $package"
        }
        mv -f "$dir/$file" "$cache/debs/$file"
        rmdir "$dir"
    fi
    printf '%s\n' "$cache/debs/$file"
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

# copy_modules MODULE_TREE TARGET: MODULES and what they depend on, unpacked, with an `order` file.
copy_modules() {
    local tree=$1 target=$2 name path dep
    local -A done_already=()
    mkdir -p "$target"
    : >"$target/order"
    depmod_lines() { sed -n "s,^\(.*/$1\.ko[.a-z]*\):\(.*\)$,\1 \2,p" "$tree/modules.dep"; }
    for name in "${MODULES[@]}"; do
        # modules.dep gives a module and its dependencies, the deepest one last.
        for path in $(depmod_lines "${name//[-_]/[-_]}" | tr ' ' '\n' | tac); do
            dep=${path##*/}
            dep=${dep%.ko*}.ko
            [[ -z ${done_already[$dep]-} ]] || continue
            done_already[$dep]=1
            case $path in
                *.xz) xz -dc "$tree/$path" ;;
                *.zst) zstd -dcq "$tree/$path" ;;
                *) cat "$tree/$path" ;;
            esac >"$target/$dep"
            printf '%s\n' "$dep" >>"$target/order"
        done
    done
    [[ -e $target/kvm-amd.ko ]] || die 'the kernel package has no kvm-amd module'
}

pack_cpio() { (cd "$1" && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet); }

# build KERNEL_DEB BUSYBOX_DEB TARGET, in a subshell, whose end cleans up after a failure too.
build() (
    work=$3.$$
    trap 'rm -rf "$work"' EXIT
    rm -rf "$work"
    mkdir -p "$work"
    dpkg-deb -x "$1" "$work/kernel"
    dpkg-deb -x "$2" "$work/busybox"
    version=$(basename "$work"/kernel/boot/vmlinuz-*)
    version=${version#vmlinuz-}
    unpack_kernel "$work/kernel/boot/vmlinuz-$version" "$work/vmlinux"

    root=$work/root
    modules=$work/kernel/lib/modules/$version
    # Packages leave modules.dep to their installation.
    depmod -b "$work/kernel" "$version"
    mkdir -p "$root/bin" "$root/lib" "$root/dev" "$root/job"
    copy_modules "$modules" "$root/lib/host-vm-modules"
    install -m 755 "$(find "$work/busybox" -name busybox -type f -perm /111)" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    install -m 755 "$lib/host-vm-init" "$root/init"
    pack_cpio "$root" >"$work/base.cpio"

    printf 'kernel %s\nbusybox %s\n' "$version" "$(dpkg-deb -f "$2" Version)" >"$work/manifest"
    rm -rf "$work/kernel" "$work/busybox" "$root"
    rm -rf "$3"
    mv -T "$work" "$3"
)

# The folder that `run` uses for a kernel. It is a link, replaced as a whole.
current() { printf '%s/%s-%s\n' "$cache" "$1" "$(recipe_hash)"; }

prepare() {
    local name=$1 package kernel_deb busybox_deb key target
    mkdir -p "$cache"
    # Two at a time would download twice; nothing worse, since results are moved into place.
    exec 8>"$cache/lock"
    flock 8
    install_packages
    apt_update_once
    package=$(kernel_package "$name")
    [[ -n $package ]] || die "apt offers no kernel for $name; is the security archive among its sources?"
    kernel_deb=$(fetch_deb "$package")
    busybox_deb=$(fetch_deb busybox-static)
    key=$(printf '%s\n' "${kernel_deb##*/}" "${busybox_deb##*/}" "$(recipe_hash)" | sha256sum | head -c 16)
    target=$cache/built/$name-$key
    if [[ ! -e $target/manifest ]]; then
        say "building $name from ${kernel_deb##*/}"
        mkdir -p "$cache/built"
        # What older recipes made. A run reads its files in its first seconds, so an hour is ample.
        find "$cache" "$cache/built" -mindepth 1 -maxdepth 1 -name "$name-*" -mmin +60 -exec rm -rf {} +
        build "$kernel_deb" "$busybox_deb" "$target"
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
