// SPDX-License-Identifier: Apache-2.0
//! The legacy registers: what is known of each.

pub mod cache;
pub mod config_cache;
pub mod events;
