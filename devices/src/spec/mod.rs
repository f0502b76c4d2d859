// SPDX-License-Identifier: Apache-2.0
//! Numbers of the standards, each once and with its section: offsets, bits, ids, opcodes. Imports nothing.

pub mod admin;
pub mod pci;
pub mod virtio;
