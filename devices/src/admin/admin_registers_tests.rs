// SPDX-License-Identifier: Apache-2.0
//! Which command each register access becomes, and what is counted.
use super::super::Latency;
use super::super::mock_channel::{MockChannel, Sent};
use super::super::wire::RequestHeader;
use super::*;
use proptest::prelude::*;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

static NEVER: AtomicBool = AtomicBool::new(false);

fn registers(delay: Duration) -> (Arc<MockChannel>, AdminRegisters) {
    let channel = MockChannel::late(delay);
    let member = NonZeroU16::new(3).unwrap();
    (channel.clone(), AdminRegisters::new(channel, member, Some(NotifyAddress::Member { bar: 2, offset: 0x1000 })))
}

fn wait() -> Wait<'static> {
    Wait { deadline: Instant::now() + Duration::from_secs(120), cancelled: &NEVER }
}

#[test]
fn accesses_become_commands() {
    let (channel, device) = registers(Duration::ZERO);
    channel.script([4, 2, 1].map(|len| Ok((0xa0..0xa0 + len).collect())));
    assert_eq!(device.read(Area::Common, 0, Width::B4, &wait()), Ok(0xa3a2_a1a0));
    assert_eq!(device.read(Area::Device, 4, Width::B2, &wait()), Ok(0xa1a0));
    assert_eq!(device.read(Area::Common, 18, Width::B1, &wait()), Ok(0xa0));
    device.write(Area::Common, 4, Width::B4, 0x1003_9823, &wait()).unwrap();
    device.write(Area::Device, 0, Width::B1, 0xffff_ff02, &wait()).unwrap();
    device.write(Area::Common, 14, Width::B2, 1, &wait()).unwrap();
    let z = [0u8; 7];
    let expected: [(u8, Vec<u8>, usize); 6] = [
        (3, vec![0], 4),
        (5, vec![4], 2),
        (3, vec![18], 1),
        (2, [&[4][..], &z, &[0x23, 0x98, 0x03, 0x10]].concat(), 0),
        (4, [&[0][..], &z, &[2]].concat(), 0),
        (2, [&[14][..], &z, &[1, 0]].concat(), 0),
    ];
    let expected = expected.map(|(opcode, data, room)| {
        let header = [&[opcode, 0, 1, 0][..], &[0; 12], &[3], &z].concat();
        Sent { request: [header, data].concat(), room }
    });
    assert_eq!(channel.sent(), expected);
    assert_eq!(device.notify_addresses(), [NotifyAddress::Member { bar: 2, offset: 0x1000 }]);
}

#[test]
fn errors_are_passed_on_and_counted_by_kind() {
    let (channel, device) = registers(Duration::ZERO);
    let refused = |status, qualifier| AdminError::Refused { status, qualifier };
    let answer = |status, qualifier| Answer { status, qualifier };
    let errors = [
        (AdminError::Timeout, RegisterError::Timeout),
        (AdminError::Timeout, RegisterError::Timeout),
        (refused(22, 3), RegisterError::Refused(answer(22, 3))),
        (refused(11, 7), RegisterError::Busy(answer(11, 7))),
        (refused(12, 6), RegisterError::Busy(answer(12, 6))),
        (refused(22, 4), RegisterError::Gone(answer(22, 4))),
        (refused(22, 5), RegisterError::Gone(answer(22, 5))),
        (AdminError::Cancelled, RegisterError::Cancelled),
        (AdminError::Short { got: 0, wanted: 9 }, RegisterError::Short { got: 0, wanted: 9 }),
        (AdminError::Full, RegisterError::Full),
        (AdminError::Dead("test"), RegisterError::Dead("test")),
    ];
    for (below, above) in errors {
        assert_eq!(below.to_string(), above.to_string());
        channel.script([Err(below)]);
        assert_eq!(device.read(Area::Common, 18, Width::B1, &wait()), Err(above));
    }
    let too_long = AdminError::TooLong { data: 1, result: 1 };
    channel.script([Err(too_long)]);
    let none = RegisterError::NoSuchRegister { area: Area::Common, offset: 18, width: 1 };
    assert_eq!(device.read(Area::Common, 18, Width::B1, &wait()), Err(none));
    let stats = device.stats();
    assert_eq!(stats.member, 3);
    let reads = stats.commands.iter().find(|stats| stats.command == "LEGACY_COMMON_CFG_READ").unwrap();
    let named: Vec<_> = reads.errors.named().collect();
    let each =
        [("refused", 5), ("timeout", 2), ("cancelled", 1), ("short", 1), ("full", 1), ("dead", 1), ("too_long", 1)];
    assert_eq!((reads.count, named), (0, each.to_vec()));
    assert!(stats.commands.iter().filter(|other| *other != reads).all(|other| other.errors == Default::default()));
}

#[test]
fn latencies_are_those_of_the_channel() {
    let (_, device) = registers(Duration::from_millis(5));
    let begun = Instant::now();
    for _ in 0..4 {
        device.write(Area::Device, 0, Width::B1, 1, &wait()).unwrap();
    }
    let stats = device.stats();
    assert_eq!(stats.commands.len(), 4, "one entry for each access command");
    let writes = stats.commands.iter().find(|stats| stats.command == "LEGACY_DEV_CFG_WRITE").unwrap();
    assert_eq!(writes.count, 4);
    let Latency { p50, p90, p99, max } = writes.latency_ns;
    assert!(p50 >= 4_900_000 && p50 <= p90 && p90 <= p99 && p99 <= max, "{writes:?}");
    // Kept with three digits.
    let all = begun.elapsed().as_nanos() as u64; // Clock: the measure of what is measured.
    assert!(max <= all + all / 100, "{writes:?} of {all}");
}

proptest! {
    /// No access chooses another opcode, group or member than its own, or reaches outside its area.
    #[test]
    fn accesses_stay_inside(
        common in any::<bool>(), offset in any::<u8>(), size in 0usize..4, write in any::<bool>(), value in any::<u32>(),
    ) {
        let (channel, device) = registers(Duration::ZERO);
        let width = [Width::B1, Width::B2, Width::B4, Width::B8][size];
        let (area, len) = if common { (Area::Common, 24) } else { (Area::Device, 256) };
        let legal = width != Width::B8 && usize::from(offset) + width.bytes() <= len;
        let outcome = if write {
            device.write(area, offset, width, value, &wait())
        } else {
            device.read(area, offset, width, &wait()).map(|_| ())
        };
        let seen = channel.sent();
        prop_assert_eq!(outcome.is_ok(), legal);
        prop_assert_eq!(seen.len(), usize::from(legal));
        for Sent { request, room } in seen {
            let (header, data) = RequestHeader::parse(&request);
            let RequestHeader { opcode, group_type, member_id, .. } = header;
            let expected = match (common, write) { (true, true) => 2, (true, false) => 3, (false, true) => 4, _ => 5 };
            prop_assert_eq!((opcode, group_type, member_id, data[0]), (expected, 1, 3, offset));
            prop_assert_eq!(if write { data.len() - 8 } else { room }, width.bytes());
        }
    }
}

/// All layers at once: registers over a PF driver over a virtqueue, two VFs side by side.
#[test]
fn registers_of_two_members_over_a_pf_driver() {
    use super::super::scripted_pf::{Quirks, ScriptedPf};
    use super::super::scripts::legacy_device;
    let pf = ScriptedPf::new(Quirks::default(), legacy_device());
    let driver = super::super::PfDriver::start(pf.clone(), wait().deadline).unwrap();
    driver.negotiate_commands(&wait()).unwrap();
    let driver = Arc::new(driver);
    let vf = |id| AdminRegisters::new(driver.clone(), NonZeroU16::new(id).unwrap(), None);
    let (one, two) = (vf(1), vf(2));
    one.write(Area::Common, 4, Width::B4, 0x1003_9823, &wait()).unwrap();
    two.write(Area::Common, 4, Width::B4, 0x0000_0001, &wait()).unwrap();
    two.write(Area::Device, 4, Width::B2, 0xbeef, &wait()).unwrap();
    assert_eq!(one.read(Area::Common, 4, Width::B4, &wait()), Ok(0x1003_9823));
    assert_eq!(two.read(Area::Common, 6, Width::B2, &wait()), Ok(0));
    assert_eq!(two.read(Area::Device, 5, Width::B1, &wait()), Ok(0xbe));
    let nobody = vf(9).read(Area::Common, 18, Width::B1, &wait());
    assert_eq!(nobody, Err(RegisterError::Gone(Answer { status: 22, qualifier: 5 })));
    let first = &pf.seen()[2];
    assert_eq!((first.readable.len(), first.writable), (36, 8), "vector B02");
}
