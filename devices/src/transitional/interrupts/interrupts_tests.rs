// SPDX-License-Identifier: Apache-2.0
//! The interrupts by themselves: a model of a device and a function below, and no registers above.
use super::*;
use crate::contract::mock::MockMsi;
use crate::contract::platform::IrqLine;
use crate::pci::{Command, ConfigSpace, MsixLayout, MsixPlace};
use crate::spec::pci::id;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::tests::bench::{Below, Setup as Made, refused};

struct Desk {
    below: Below,
    interrupts: Interrupts,
    state: InterruptState,
    config: Arc<GuestConfig>,
    control: u16,
}

fn desk() -> Desk {
    let below = Below::new(&Made::net());
    let layout = MsixLayout::new(4, MsixPlace { bar: 4, offset: 0 }, MsixPlace { bar: 4, offset: 0x800 }).unwrap();
    let mut space = ConfigSpace::new(&DeviceType::Net.identity());
    space.set_interrupt(1, 11);
    let (body, writable) = layout.capability();
    let capability = space.add_capability(id::MSIX, &body, &writable).unwrap();
    let config = Arc::new(GuestConfig::new(space, Some(below.line.clone() as Arc<dyn IrqLine>)));
    let msix = GuestMsix::new(Msix::new("desk", layout, &MockMsi::default()).unwrap(), capability);
    let function = below.function();
    function.config_write(4, Width::B2, Command::BUS_MASTER.bits().into()).unwrap();
    let interrupts = Interrupts::new(&function, 3, true, Some(msix), &config, &below.back_end).unwrap();
    below.log.take();
    Desk { below, interrupts, state: InterruptState::default(), config, control: capability + 2 }
}

impl Desk {
    fn set_msix(&mut self, on: bool, setup: &Setup) -> Selection {
        self.config.write(self.control, Width::B2, if on { 0x8000 } else { 0 });
        self.interrupts.control_written(&mut self.state, setup)
    }

    fn log(&self) -> Vec<String> {
        self.below.log.take()
    }
}

/// Queue 0 is set up, and the guest looks at queue 2.
fn running() -> Setup {
    Setup { queue_select: 2, configured: [0].into_iter().collect(), driver_ok: true }
}

#[test]
fn a_queue_and_configuration_changes_get_hidden_vectors_once_the_vfs_msix_is_on() {
    let mut desk = desk();
    desk.interrupts.arm_queue(&mut desk.state, 0);
    desk.interrupts.arm_config(&mut desk.state);
    desk.interrupts.arm_config(&mut desk.state);
    assert_eq!(desk.log(), ["vf msix 4", "W C22.2=1", "R C22.2=1", "W C20.2=0", "R C20.2=0"]);
    desk.interrupts.config_vector_in_doubt(&mut desk.state);
    desk.interrupts.arm_config(&mut desk.state);
    assert_eq!(desk.log(), ["W C20.2=0", "R C20.2=0"]);
}

#[test]
fn h1_the_switch_to_msix_takes_vectors_back_and_keeps_the_guests_selection() {
    let mut desk = desk();
    desk.interrupts.arm_queue(&mut desk.state, 0);
    desk.interrupts.arm_config(&mut desk.state);
    desk.log();
    assert!(desk.config.raise_if(1, || true).is_some() && desk.below.line.is_high());
    assert_eq!(desk.set_msix(true, &running()), Selection::Kept);
    assert!(desk.state.guest_msix() && !desk.below.line.is_high());
    assert_eq!(desk.log(), ["W C20.2=ffff", "W C14.2=0", "W C22.2=ffff", "W C14.2=2", "vf msix 4"]);
    assert_eq!(desk.set_msix(true, &running()), Selection::Kept);
    assert!(desk.log().is_empty(), "it is on already");
    assert_eq!(desk.set_msix(false, &running()), Selection::Kept);
    let back = ["vf msix 4", "W C14.2=0", "W C22.2=1", "R C22.2=1", "W C14.2=2", "W C20.2=0", "R C20.2=0"];
    assert_eq!(desk.log(), back);
    assert!(desk.below.line.is_high(), "in case a signal got lost");
}

#[test]
fn without_a_queue_the_vf_is_silent_after_the_switch() {
    let mut desk = desk();
    let _ = desk.set_msix(true, &Setup::default());
    desk.log();
    let _ = desk.set_msix(false, &Setup::default());
    assert_eq!(desk.log(), ["vf msix off"]);
    assert!(!desk.below.line.is_high());
}

#[test]
fn a_selection_that_fails_is_told() {
    let mut desk = desk();
    desk.interrupts.arm_queue(&mut desk.state, 0);
    desk.below.model.trouble.fail("W C14.2", refused(1));
    assert_eq!(desk.set_msix(true, &running()), Selection::Lost);
}

#[test]
fn resets_end_what_was_given() {
    let mut desk = desk();
    let _ = desk.set_msix(true, &running());
    desk.log();
    desk.interrupts.function_was_reset(&mut desk.state);
    assert_eq!(desk.log(), ["vf msix 4"], "the guest's vectors again");
    desk.interrupts.machine_was_reset(&mut desk.state);
    assert_eq!(desk.state, InterruptState::default());
    desk.config.raise_if(1, || true);
    desk.interrupts.device_was_reset(&mut desk.state);
    assert_eq!(desk.interrupts.take_isr(), 0);
}

#[test]
fn what_is_saved_goes_on_in_another() {
    let mut desk = desk();
    desk.interrupts.arm_queue(&mut desk.state, 0);
    let _ = desk.set_msix(true, &running());
    let table = Width::B4;
    desk.interrupts.bar_write(4, 16, table, 0xfee0_1000).unwrap();
    let saved = serde_json::to_string(&desk.interrupts.save(&desk.state)).unwrap();
    let mut other = self::desk();
    other.interrupts.set(&mut other.state, serde_json::from_str(&saved).unwrap()).unwrap();
    assert_eq!(serde_json::to_string(&other.interrupts.save(&other.state)).unwrap(), saved);
    assert_eq!((other.state.guest_msix(), other.interrupts.bar_read(4, 16, table)), (true, Some(0xfee0_1000)));
}
