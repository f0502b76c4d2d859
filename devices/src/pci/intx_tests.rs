// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::bus::Width;
use crate::contract::mock::MockLine;
use crate::pci::{Identity, Subsystem};

fn config() -> ConfigSpace {
    ConfigSpace::new(&Identity {
        vendor_id: 0x1af4,
        device_id: 0x1000,
        revision_id: 0,
        class_code: [0, 0, 2],
        subsystem: Subsystem { vendor_id: 0x1af4, id: 1 },
    })
}

#[test]
fn e15_e16_intx_disable_releases_the_line_and_not_the_status_bit() {
    let line = Arc::new(MockLine::default());
    let (mut pin, mut config) = (IntxPin::new(line.clone()), config());
    pin.set(true, &mut config);
    assert_eq!(config.read(6, Width::B2) & 8, 8);

    let _ = config.write(4, Width::B2, 0x400);
    pin.refresh(&mut config);
    assert_eq!(config.read(6, Width::B2) & 8, 8, "E15: still pending");
    assert!(pin.is_wanted() && !pin.asserted);

    let _ = config.write(4, Width::B2, 0);
    pin.refresh(&mut config);
    pin.set(false, &mut config);
    assert_eq!(config.read(6, Width::B2) & 8, 0);
    assert_eq!(line.take_calls(), [true, false, true, false]);
}

#[test]
fn a_level_is_told_once() {
    let line = Arc::new(MockLine::default());
    let (mut pin, mut config) = (IntxPin::new(line.clone()), config());
    pin.set(false, &mut config);
    pin.set(true, &mut config);
    pin.set(true, &mut config);
    pin.refresh(&mut config);
    assert_eq!(line.take_calls(), [true]);
}

#[test]
fn reset_of_the_function_keeps_status_and_line_in_step() {
    let line = Arc::new(MockLine::default());
    let (mut pin, mut config) = (IntxPin::new(line.clone()), config());
    let _ = config.write(4, Width::B2, 0x400);
    pin.set(true, &mut config);
    assert!(line.take_calls().is_empty());
    config.reset();
    pin.refresh(&mut config);
    assert!(pin.asserted);
    assert_eq!(config.read(6, Width::B2) & 8, 8);
}
