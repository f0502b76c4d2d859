// SPDX-License-Identifier: Apache-2.0
//! The guest's configuration space: made from the VF's, with the interrupt status and the pin beside it.

pub(super) mod build;
pub(super) mod space;
pub(super) mod vf;
