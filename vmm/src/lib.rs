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
//! | [`rest`], [`ctl`] | the engine as the API's service; the client |
//! | [`report`] | what the devices did |
//! | [`pf`] | `heirloom pf`: a PF and its VFs to VFIO and back |
//! | [`probe`] | `heirloom probe`: what is missing for a VF in a guest |
//! | [`soft_pf`] | `heirloom soft-pf`: a software PF and its VFs as a server |
//! | [`trace`] | legacy accesses as they happen, and what a driver did |

pub mod cli;
pub mod config;
pub mod console;
pub mod ctl;
pub mod kvm;
pub mod lifecycle;
pub mod log;
pub mod machine;
pub mod pf;
pub mod probe;
pub mod report;
pub mod rest;
pub mod run;
pub mod signals;
pub mod soft_pf;
pub mod terminal;
pub mod trace;
pub mod vcpu;
