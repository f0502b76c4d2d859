// SPDX-License-Identifier: Apache-2.0
//! Kicks: with and without exits, and those before DRIVER_OK.

pub mod early;
pub mod ioeventfds;
pub mod notifier;
pub mod queue_set;
