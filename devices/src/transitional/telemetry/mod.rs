// SPDX-License-Identifier: Apache-2.0
//! What people see of a function: counters, reports, traces. It changes nothing of what the function does.
//!
//! | module | what it is |
//! | --- | --- |
//! | `stats`, `access_counts` | what is counted |
//! | `interrupt_log` | which interrupts one driver after the other used |
//! | `reports` | what of it a report has |
//! | `feature_names` | features by name |
//! | `trace` | a record of each legacy access, while somebody looks |

pub mod access_counts;
pub mod feature_names;
pub mod interrupt_log;
pub mod reports;
pub mod stats;
pub mod trace;
