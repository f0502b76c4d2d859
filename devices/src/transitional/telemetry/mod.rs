// SPDX-License-Identifier: Apache-2.0
//! What people see of a function: counters, reports, traces.

pub mod access_counts;
pub mod feature_names;
pub mod stats;
pub mod trace;
