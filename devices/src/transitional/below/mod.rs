// SPDX-License-Identifier: Apache-2.0
//! The way down to the registers of the device, and its failures.

pub(super) mod back_end;
pub(super) mod fault;
