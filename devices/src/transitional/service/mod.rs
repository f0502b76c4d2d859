// SPDX-License-Identifier: Apache-2.0
//! Whether the function serves its guest.

pub mod bus_master;
