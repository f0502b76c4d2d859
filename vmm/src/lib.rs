// SPDX-License-Identifier: Apache-2.0
//! vmm.

pub mod kvm;
pub mod vcpu;
