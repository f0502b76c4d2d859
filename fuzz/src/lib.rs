// SPDX-License-Identifier: Apache-2.0
//! What the fuzz targets have in common. A target reads its input as a script: bytes that are decoded
//! by hand into operations, so that every input means something and small changes stay small.
#![forbid(unsafe_code)]

pub mod fields;
pub mod hostile_pf;
pub mod script;
pub mod stack;
pub mod wire_spy;
