// SPDX-License-Identifier: Apache-2.0
//! The virtual machine monitor: everything between the command line and the device model.

pub mod cli;
