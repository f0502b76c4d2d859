// SPDX-License-Identifier: Apache-2.0
use super::*;

/// What ends knowledge, and its name.
type End = (&'static str, fn(&mut ConfigCache));

fn piece(offset: u8, width: Width) -> Piece {
    Piece { offset, width, position: 0 }
}

fn byte(offset: u8) -> Piece {
    piece(offset, Width::B1)
}

#[test]
fn a_run_gives_each_byte_once_and_in_order() {
    let mut config = ConfigCache::new(true, DeviceType::Block);
    assert_eq!(config.width_to_read(&byte(0), 8), Width::B4);
    config.read(&byte(0), Width::B4, 0x4433_2211);
    assert_eq!(config.get(&byte(1)), Some(0x22));
    assert_eq!(config.get(&piece(2, Width::B2)), Some(0x4433));
    assert_eq!(config.get(&byte(4)), None);
    assert_eq!(config.get(&byte(1)), None, "each time anew");
}

#[test]
fn anything_but_the_next_byte_ends_a_run() {
    let mut config = ConfigCache::new(true, DeviceType::Block);
    let ends: [End; 5] = [
        ("skipped", |config| assert_eq!(config.get(&byte(2)), None)),
        ("again", |config| assert_eq!(config.get(&byte(0)), None)),
        ("too wide", |config| assert_eq!(config.get(&piece(1, Width::B4)), None)),
        ("another register", ConfigCache::end_run),
        ("written", |config| config.apply(MacFate::Forget)),
    ];
    for (name, end) in ends {
        config.read(&byte(0), Width::B4, 0x4433_2211);
        end(&mut config);
        assert_eq!(config.get(&byte(1)), None, "{name}");
    }
}

#[test]
fn how_much_is_read() {
    let mut config = ConfigCache::new(true, DeviceType::Block);
    let widths = [1, 2, 3, 4, 8].map(|room| config.width_to_read(&byte(0), room).bytes());
    assert_eq!(widths, [1, 2, 2, 4, 4]);
    assert_eq!(config.width_to_read(&piece(0, Width::B2), 8), Width::B2, "no byte-by-byte reader");
    config.refused_run();
    assert_eq!(config.width_to_read(&byte(0), 8), Width::B1);
    assert_eq!(ConfigCache::new(false, DeviceType::Block).width_to_read(&byte(0), 8), Width::B1);
}

#[test]
fn the_mac_address_stays_until_it_is_written_or_the_device_is_reset() {
    for end in [MacFate::Forget, MacFate::Trust, MacFate::Distrust] {
        let mut config = ConfigCache::new(true, DeviceType::Net);
        config.read(&byte(0), Width::B4, 0x1200_5452);
        config.read(&byte(4), Width::B2, 0x5634);
        config.read(&byte(6), Width::B2, 1);
        config.end_run();
        assert_eq!(config.get(&byte(5)), Some(0x56));
        assert_eq!(config.get(&piece(0, Width::B4)), Some(0x1200_5452));
        assert_eq!(config.get(&piece(2, Width::B4)), Some(0x5634_1200));
        assert_eq!(config.get(&byte(6)), None, "link status is not kept");
        config.apply(MacFate::Keep);
        assert_eq!(config.get(&byte(5)), Some(0x56));
        config.apply(end);
        assert_eq!(config.get(&byte(5)), None, "{end:?}");
    }
}

#[test]
fn a_mac_address_that_a_queue_may_change_is_not_kept() {
    let mut config = ConfigCache::new(true, DeviceType::Net);
    config.read(&byte(0), Width::B4, 0x1200_5452);
    assert!(config.may_change_by_queue(NET_CTRL_MAC_ADDR | 1) && !config.may_change_by_queue(!NET_CTRL_MAC_ADDR));
    assert!(!ConfigCache::new(true, DeviceType::Block).may_change_by_queue(NET_CTRL_MAC_ADDR));
    config.apply(MacFate::Distrust);
    assert_eq!(config.get(&byte(0)), None);
    config.read(&byte(0), Width::B4, 0x1200_5452);
    assert_eq!(config.get(&byte(1)), Some(0x54), "still a run");
    assert_eq!(config.get(&byte(0)), None);
    config.apply(MacFate::Trust);
    config.read(&byte(0), Width::B1, 0x52);
    assert_eq!(config.get(&byte(0)), Some(0x52));
    let mut disk = ConfigCache::new(true, DeviceType::Block);
    disk.read(&byte(0), Width::B1, 64);
    assert_eq!(disk.get(&byte(0)), None, "capacity is not kept");
}
