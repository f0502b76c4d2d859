// SPDX-License-Identifier: Apache-2.0
//! A PF driver that goes on where another one was, over software PFs.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::*;
use crate::admin::faulty::{Fault, FaultyPf, Rule};
use crate::admin::{AdminRegisters, opcode};
use crate::contract::mock::{make_up_states, move_state};
use crate::contract::{Area, LegacyRegisters, Wait, Width};
use crate::soft_pf::{HiddenConfig, NetBackend, NotifyQuirk, Quirks, SoftPf, VfSpec};

static NEVER: AtomicBool = AtomicBool::new(false);

fn wait() -> Wait<'static> {
    Wait { deadline: Instant::now() + Duration::from_secs(20), cancelled: &NEVER }
}

fn soft(no_notify_info: bool) -> SoftPf {
    let card = |last| VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, last] };
    let soft = SoftPf::new("soft", vec![card(1), card(2)]).unwrap();
    soft.set_quirks(Quirks { notify: NotifyQuirk::unsupported(no_notify_info), ..Quirks::default() });
    soft
}

fn started(function: Arc<dyn crate::function::PciFunction>, vfs: u16) -> Arc<PfDriver> {
    let driver = PfDriver::start(function, wait().deadline).unwrap();
    driver.enable_vfs(vfs).unwrap();
    driver.negotiate_commands(&wait()).unwrap();
    Arc::new(driver)
}

/// What a legacy driver does to the card of member 1 until its features are chosen, and what it reads on the way.
fn guest(driver: &Arc<PfDriver>) -> Vec<u32> {
    let card = AdminRegisters::new(driver.clone(), NonZeroU16::new(1).unwrap(), None);
    for (offset, width, value) in [(18, Width::B1, 0), (18, Width::B1, 3), (4, Width::B4, 1 << 5), (14, Width::B2, 1)] {
        card.write(Area::Common, offset, width, value, &wait()).unwrap();
    }
    let registers = [(0, Width::B4), (4, Width::B4), (12, Width::B2), (14, Width::B2), (18, Width::B1)];
    registers.map(|(offset, width)| card.read(Area::Common, offset, width, &wait()).unwrap()).to_vec()
}

/// The second PF can do more: its driver does not begin to use it under a guest, not even after it started over.
#[test]
fn the_commands_in_use_stay_those_that_were() {
    let (first_pf, second_pf) = (soft(true), soft(false));
    let (first, second) = (started(first_pf.pf(), 2), started(second_pf.pf(), 2));
    assert!(second.supports(opcode::LEGACY_NOTIFY_INFO) && !first.supports(opcode::LEGACY_NOTIFY_INFO));
    let before = guest(&first);
    move_state(&*first, &*second);
    for _ in 0..2 {
        assert!(second.supports_legacy() && !second.supports(opcode::LEGACY_NOTIFY_INFO));
        let vf = second_pf.vf_slot(0, HiddenConfig::Readable).unwrap();
        assert_eq!(second.notify_info(NonZeroU16::MIN, &*vf, &wait()).unwrap(), []);
        assert_eq!(guest(&second), before);
        second.restart(&wait()).unwrap();
    }
}

#[test]
fn what_this_pf_has_not_is_refused_and_changes_nothing() {
    let (able, less) = (soft(false), soft(true));
    let (able, less) = (started(able.pf(), 2), started(less.pf(), 1));
    let own = less.state();
    assert!(less.set_state(able.state()).unwrap_err().to_string().contains("admin commands"));
    assert!(less.set_state(PfDriverState { enabled_vfs: 2, ..own }).unwrap_err().to_string().contains("VFs"));
    assert_eq!(less.state(), own);
    make_up_states(&*less, |result| {
        assert_eq!(guest(&less).len(), 5, "{result:?}");
        less.set_state(own).unwrap();
    });
}

/// What such a command does to the VF may come after the state was taken.
#[test]
fn a_state_with_a_command_under_way_is_refused() {
    let (first_pf, second_pf) = (soft(false), soft(false));
    let faulty = FaultyPf::new(first_pf.pf()).unwrap();
    let (first, second) = (started(faulty.clone(), 2), started(second_pf.pf(), 2));
    faulty.add(Rule::nth(0, Fault::Hold));
    let card = AdminRegisters::new(first.clone(), NonZeroU16::MIN, None);
    while first.channel().counts().get(QueueCounter::Quarantined) == 0 {
        // A deadline may pass before anything is sent.
        let soon = Wait { deadline: Instant::now() + Duration::from_millis(50), cancelled: &NEVER };
        assert!(card.read(Area::Common, 18, Width::B1, &soon).is_err());
    }
    assert!(second.set_state(first.state()).unwrap_err().to_string().contains("under way"));
    faulty.release();
    assert!(card.read(Area::Common, 18, Width::B1, &wait()).is_ok());
    move_state(&*first, &*second);
}
