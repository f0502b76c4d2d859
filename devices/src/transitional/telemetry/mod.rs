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

pub(super) mod access_counts;
pub(super) mod feature_names;
pub(super) mod interrupt_log;
pub(super) mod reports;
pub(super) mod stats;
pub(super) mod trace;
