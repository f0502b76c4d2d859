# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What scripts/fuzz needs beyond Rust, as Debian package names: libFuzzer is C++ and compiled on the way.
# Sourced, not run.
FUZZ_PACKAGES=(g++ libc6-dev)
