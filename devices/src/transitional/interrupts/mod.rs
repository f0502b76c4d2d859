// SPDX-License-Identifier: Apache-2.0
//! The guest's interrupts: MSI-X, and INTx made from hidden vectors.

pub mod switch;
pub mod vectors;
