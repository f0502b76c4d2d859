# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What scripts/bench counts needs beyond Rust, as Debian package names. Sourced, not run.
COUNTS_PACKAGES=(valgrind binutils strace)
