// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn a_guest_that_never_sets_it_gets_it_when_it_expects_dma() {
    let mut policy = BusMaster::default();
    policy.write(false);
    assert!(!policy.is_enabled());
    policy.expect_dma();
    assert!(policy.is_enabled());
    policy.device_reset();
    assert!(!policy.is_enabled());
}

#[test]
fn a_guest_that_clears_it_is_obeyed() {
    let mut policy = BusMaster::default();
    policy.write(true);
    policy.expect_dma();
    policy.write(false);
    assert!(!policy.is_enabled());
    policy.expect_dma();
    assert!(!policy.is_enabled(), "no switching on behind the guest's back");
    policy.write(true);
    assert!(policy.is_enabled());
    policy.device_reset();
    assert!(policy.is_enabled(), "a virtio reset does not touch COMMAND");
}
