// SPDX-License-Identifier: Apache-2.0
//! What the legacy interface looks like: device types, registers, fields, features. Pure.

pub(super) mod decode;
pub(super) mod features;
pub(super) mod fields;
pub(super) mod identity;
pub(super) mod queue_set;
