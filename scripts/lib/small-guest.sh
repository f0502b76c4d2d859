#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the bare-metal guest of tests/guests and prints its path. From its own folder, because cargo reads
# the .cargo/config.toml there only then.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$repo/target}/small-guest
cd "$repo/tests/guests"
env -u RUSTFLAGS cargo build --release --locked --target-dir "$target" >&2
echo "$target/x86_64-unknown-linux-gnu/release/small-guest"
