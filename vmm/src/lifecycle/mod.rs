// SPDX-License-Identifier: Apache-2.0
//! The life of the one virtual machine of this process: create, boot, pause, resume, shut down, boot again,
//! delete; asked for from any thread, done on the main loop's.
//!
//! | module | what it is | pure |
//! | --- | --- | --- |
//! | `state` | the state, for any thread | yes |
//! | `error` | failures as faults of the API | yes |
//! | `control`, `queue` | the engine from other threads: a bounded queue, deadlines | |
//! | `engine` | the main loop; in `requests` what each operation does, in `guest` what the guest does, in `look` what clients see | |
//! | `vm` | configuration, open files, machine | |
//! | `operator`, `stop_request` | serial port and terminal; signals and Ctrl-A X | |
//! | `events`, `monitor` | what happened, as a stream; the stream as a file | |
//! | `opening` | configurations are checked and files opened on a thread of its own | |
//! | `options` | how an engine behaves | yes |
//! | `pace` | how soon a guest that resets itself starts again | but for its timer |
//! | `publisher`, `counters`, `metrics` | what a machine tells, as events and counts; Prometheus text | |
//! | `view`, `legacy_view` | what clients see | yes |
//! | `ended` | how it all ended, and the exit code for that | yes |
#![forbid(unsafe_code)]

mod control;
mod counters;
mod ended;
mod engine;
mod error;
mod events;
mod legacy_view;
mod metrics;
mod monitor;
mod opening;
mod operator;
mod options;
mod pace;
mod publisher;
mod queue;
mod state;
#[cfg(test)]
mod states_tests;
mod stop_request;
#[cfg(test)]
pub(crate) mod test_engine;
#[cfg(test)]
pub(crate) mod test_pf;
mod view;
mod vm;

pub use control::Request;
pub use ended::Ended;
pub use engine::Engine;
pub use events::{Event, EventBus, EventKind, Next, Subscription};
pub use monitor::{EventMonitor, MonitorTarget};
pub use options::{Ends, EngineOptions};
pub use vm::Failure;

/// The engine, for any thread.
pub type Control = control::Control<Engine>;
