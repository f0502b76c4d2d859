// SPDX-License-Identifier: Apache-2.0
//! Tests of the function as a whole, what they are made with, and what drivers do.

pub mod bench;
pub mod cache_failure_tests;
pub mod cache_property_tests;
pub mod failure_tests;
pub mod fault_matrix_tests;
pub mod faulty_stack;
pub mod leak_tests;
pub mod mapping_tests;
pub mod no_dma_tests;
pub mod notify_choice_tests;
pub mod pf_life_tests;
pub mod property_tests;
pub mod pump_tests;
pub mod replay;
pub mod sequence_tests;
pub mod stack_tests;
pub mod vector_tests;
pub mod vfio_user_tests;
pub mod width_tests;
pub mod wire_property_tests;
