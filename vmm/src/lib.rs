// SPDX-License-Identifier: Apache-2.0
//! The virtual machine monitor: everything between the command line and the device model.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cli`] | words into a configuration |
//! | [`config`] | a configuration into a checked plan with open files |
//! | [`lifecycle`] | the engine: one virtual machine, its states, and the main loop |
//! | [`run`] | `heirloom run`: the engine for one guest |
//! | [`log`] | levels, targets, text or JSON |
//! | [`machine`] | one machine: how its parts are put together |
//! | [`kvm`] | the kernel's objects: VM, memory, vCPUs, interrupts |
//! | [`vcpu`] | the threads that run guest code, and what its exits mean |
//! | [`console`], [`terminal`], [`signals`] | the operator |
//! | [`report`] | what the devices did |
//! | [`trace`] | legacy accesses as they happen, and what a driver did |

pub mod cli;
pub mod config;
pub mod console;
pub mod kvm;
pub mod lifecycle;
pub mod log;
pub mod machine;
pub mod report;
pub mod run;
pub mod signals;
pub mod terminal;
pub mod trace;
pub mod vcpu;
