// SPDX-License-Identifier: Apache-2.0
//! The layer itself: faithful without rules, unfaithful as they say, and not to be fooled by a driver
//! that uses buffers the device holds.
use std::result::Result;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use vm_memory::{Bytes, MemoryRegionAddress};

use super::*;
use crate::admin::{AdminChannel, AdminError, Command, PfDriver, QueueCounter};
use crate::contract::Wait;
use crate::soft_pf::{NetBackend, SoftPf, VfSpec};

static NEVER: AtomicBool = AtomicBool::new(false);

fn within(milliseconds: u64) -> Wait<'static> {
    Wait { deadline: Instant::now() + Duration::from_millis(milliseconds), cancelled: &NEVER }
}

struct Bench {
    pf: Arc<FaultyPf>,
    driver: PfDriver,
    _soft: SoftPf,
}

fn bench() -> Bench {
    let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let soft = SoftPf::new("soft", vec![VfSpec::Net { backend: NetBackend::Loopback, mac }]).unwrap();
    let pf = FaultyPf::new(soft.pf()).unwrap();
    let driver = PfDriver::start(pf.clone(), Instant::now() + Duration::from_secs(20)).unwrap();
    driver.enable_vfs(1).unwrap();
    driver.negotiate_commands(&within(20_000)).unwrap();
    pf.seen();
    Bench { pf, driver, _soft: soft }
}

fn read_mac(bench: &Bench, wait: &Wait<'_>) -> Result<u8, AdminError> {
    let mut byte = [0];
    let command = Command { opcode: 5, group_type: 1, member_id: 1, data: &[1] };
    bench.driver.execute(&command, &mut byte, wait)?;
    Ok(byte[0])
}

#[test]
fn without_rules_nothing_changes() {
    let bench = bench();
    for _ in 0..300 {
        assert_eq!(read_mac(&bench, &within(20_000)), Ok(0x54));
    }
    let seen = bench.pf.seen();
    assert_eq!((seen.len(), seen[0].opcode, seen[0].offset, seen[0].member_id), (300, 5, Some(1), 1));
    assert_eq!((bench.pf.violations(), bench.driver.channel().dead()), (0, None));
}

#[test]
fn rules_choose_by_opcode_offset_and_number() {
    let bench = bench();
    let refused = Err(AdminError::Refused { status: 16, qualifier: 1 });
    let fault = Fault::Status(16, 1);
    bench.pf.add(Rule { opcode: Some(5), offset: Some(1), skip: 1, times: 2, fault });
    let outcomes: Vec<_> = (0..4).map(|_| read_mac(&bench, &within(20_000))).collect();
    assert_eq!(outcomes, [Ok(0x54), refused.clone(), refused, Ok(0x54)]);
    bench.pf.add(Rule { opcode: Some(3), ..Rule::every(Fault::Result) });
    assert_eq!(read_mac(&bench, &within(20_000)), Ok(0x54), "another opcode");
    bench.pf.add(Rule::every(Fault::Result));
    assert_eq!(read_mac(&bench, &within(20_000)), Ok(!0x54));
    bench.pf.clear();
    assert_eq!(read_mac(&bench, &within(20_000)), Ok(0x54));
}

#[test]
fn delayed_replies_come_and_late_ones_are_nobodys() {
    let bench = bench();
    bench.pf.add(Rule::nth(0, Fault::Delay(Duration::from_millis(30))));
    assert_eq!(read_mac(&bench, &within(20_000)), Ok(0x54));
    bench.pf.add(Rule::nth(0, Fault::Hold));
    assert_eq!(read_mac(&bench, &within(30)), Err(AdminError::Timeout));
    let held = bench.driver.channel().counts().get(QueueCounter::Quarantined);
    for _ in 0..200 {
        assert_eq!(read_mac(&bench, &within(20_000)), Ok(0x54));
    }
    assert_eq!((held, bench.pf.release()), (1, 1));
    assert_eq!(read_mac(&bench, &within(20_000)), Ok(0x54));
    assert_eq!((bench.driver.channel().counts().get(QueueCounter::Quarantined), bench.pf.violations()), (0, 0));
}

#[test]
fn a_driver_that_uses_held_buffers_is_caught() {
    let bench = bench();
    bench.pf.add(Rule::nth(0, Fault::Hold));
    assert_eq!(read_mac(&bench, &within(20)), Err(AdminError::Timeout));
    let region = bench.pf.lock().middle.region(1 << 32, false).unwrap().0.clone();
    // The data of the held command: slot 0's readable part starts on the third page.
    let at = MemoryRegionAddress(0x2000 + 24);
    region.write_obj(9_u8, at).unwrap();
    assert_eq!(bench.pf.violations(), 1, "bytes changed");
    region.write_obj(1_u8, at).unwrap();
    assert_eq!(bench.pf.violations(), 0);
    // Offers the same chain again, as a driver would that took the slot for free.
    let avail = bench.pf.lock().middle.taken;
    let idx_at = MemoryRegionAddress(crate::admin::dma::AVAIL + 2);
    region.write_obj(avail.wrapping_add(1), idx_at).unwrap();
    let entry = crate::admin::dma::AVAIL + 4 + 2 * u64::from(avail % 64);
    region.write_obj(0_u16, MemoryRegionAddress(entry)).unwrap();
    bench.pf.doorbell((2, 0x3008, 2));
    assert_eq!(bench.pf.violations(), 1, "a held buffer was offered");
}

#[test]
fn a_function_that_was_taken_out_can_be_put_back() {
    for (fault, gone) in [(Fault::RemoveAllOnes, false), (Fault::RemoveGone, true)] {
        let bench = bench();
        bench.pf.add(Rule::nth(0, fault));
        let error = read_mac(&bench, &within(30)).unwrap_err();
        assert!(matches!(error, AdminError::Dead(_)), "{error}");
        assert_eq!(bench.pf.config_read(0, Width::B2).is_err(), gone);
        assert!(bench.driver.restart(&within(20_000)).is_err());
        bench.pf.put_back();
        bench.driver.restart(&within(20_000)).unwrap();
        assert_eq!(read_mac(&bench, &within(20_000)), Ok(0x54));
        assert_eq!(bench.pf.violations(), 0);
    }
}
