// SPDX-License-Identifier: Apache-2.0
//! Machines that start by firmware, straight on `/dev/kvm`.

mod rom;

use std::process::ExitCode;

use tests::{Kvm, trials};

type Test = fn() -> Result<(), String>;

const TESTS: &[(&str, Test)] = &[
    ("starts_at_the_reset_vector", rom::starts_at_the_reset_vector),
    ("a_reset_starts_the_firmware_again", rom::a_reset_starts_the_firmware_again),
    ("the_image_below_4_gib_cannot_be_written", rom::the_image_below_4_gib_cannot_be_written),
    ("bad_images", rom::bad_images),
];

fn main() -> ExitCode {
    let lack = (Kvm::find() == Kvm::Missing).then_some(trials::NO_KVM);
    trials::run(TESTS.iter().map(|(name, test)| trials::trial(name, test, lack)).collect())
}
