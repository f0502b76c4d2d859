// SPDX-License-Identifier: Apache-2.0
//! The `heirloom` command.
fn main() {}
