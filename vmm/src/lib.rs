// SPDX-License-Identifier: Apache-2.0
//! The virtual machine monitor: everything between the command line and the device model.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cli`] | words into a configuration |
//! | [`config`] | a configuration into a checked plan with open files |
//! | [`terminal`] | raw mode, and the way back |

pub mod cli;
pub mod config;
pub mod terminal;
