// SPDX-License-Identifier: Apache-2.0
//! Tests of the function as a whole, what they are made with, and what drivers do.

pub(super) mod bench;
pub(super) mod cache_failure_tests;
pub(super) mod cache_property_tests;
pub(super) mod failure_tests;
pub(super) mod fault_matrix_tests;
pub(super) mod faulty_stack;
pub(super) mod leak_tests;
pub(super) mod mapping_tests;
pub(super) mod no_dma_tests;
pub(super) mod notify_choice_tests;
pub(super) mod pf_life_tests;
pub(super) mod property_tests;
pub(super) mod pump_tests;
pub(super) mod replay;
pub(super) mod sequence_tests;
pub(super) mod stack_tests;
pub(super) mod vector_tests;
pub(super) mod vfio_user_tests;
pub(super) mod width_tests;
pub(super) mod wire_property_tests;
