# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/test and scripts/demo need before they start. Sourced, never run.

# The oldest toolchain that builds this (rust-version in Cargo.toml).
RUST_VERSION=1.95

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    say "$1"
    exit "${2:-1}"
}

# ensure_packages NAME...: Debian packages, installed if we are root, else named.
ensure_packages() {
    local missing=() package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID != 0)); then
        die "these Debian packages are missing; install them as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # Twice, because a mirror that is being updated answers with an error once in a while.
    apt-get update -qq || { sleep 5 && apt-get update -qq; }
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        apt-get install -y -qq --no-install-recommends --fix-missing "${missing[@]}" >/dev/null
}

# ensure_rust: cargo, new enough.
ensure_rust() {
    if ! command -v cargo >/dev/null && [[ -d $HOME/.cargo/bin ]]; then
        PATH=$PATH:$HOME/.cargo/bin
    fi
    local hint="install Rust $RUST_VERSION or newer with rustup (Debian's own package is older), then run this again"
    command -v cargo >/dev/null || die "cargo is missing: $hint"
    local version
    version=$(rustc --version | cut -d' ' -f2)
    [[ $(printf '%s\n%s\n' "$RUST_VERSION" "$version" | sort -V | head -n 1) == "$RUST_VERSION" ]] ||
        die "rustc $version is too old: $hint"
}

# kvm_kind: hardware, emulated or missing, measured with a small guest.
kvm_kind() { "$repo/scripts/kvm-speed" | cut -d' ' -f1; }
