// SPDX-License-Identifier: Apache-2.0
//! The virtual machine monitor: what a running machine is made of. Options, the REST service and the tools are the
//! command's (`vmm/heirloom`), which this library does not know.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`config`] | a configuration into a checked plan with open files |
//! | [`lifecycle`] | the engine: one virtual machine, its states, and the main loop |
//! | [`machine`] | one machine: how its parts are put together |
//! | [`kvm`] | the kernel's objects: VM, memory, vCPUs, interrupts |
//! | [`vcpu`] | the threads that run guest code, and what its exits mean |
//! | [`console`], [`terminal`], [`signals`] | the operator |
//! | [`panics`], [`last_words`], [`end_in_time`] | faults of this program; messages at its end; a limit for that |
//! | [`output`] | files that a run writes |
//! | `range_locks` | locks on ranges of files |
//! | [`report`] | what the devices did |
//! | [`sandbox`] | what this process and its threads may ask of the kernel |
//! | [`timestamp`] | moments as text |
//! | [`trace`] | legacy accesses as they happen |
//! | [`waits`] | calls that may wait for the host's storage |

pub mod config;
pub mod console;
pub mod end_in_time;
pub mod kvm;
pub mod last_words;
pub mod lifecycle;
pub mod machine;
pub mod output;
pub mod panics;
mod range_locks;
pub mod report;
pub mod sandbox;
pub mod signals;
pub mod terminal;
mod text_screen;
pub mod timestamp;
pub mod trace;
pub mod vcpu;
pub mod waits;
