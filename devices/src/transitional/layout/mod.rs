// SPDX-License-Identifier: Apache-2.0
//! What the legacy interface looks like: device types, registers, fields, features. Pure.

pub mod decode;
pub mod features;
pub mod fields;
pub mod identity;
pub mod queue_set;
