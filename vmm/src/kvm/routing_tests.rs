// SPDX-License-Identifier: Apache-2.0
//! Deliveries are looked for in the request register of a local APIC; no guest code runs.
use std::time::Duration;

use devices::bus::Width;
use devices::pci::{Msix, MsixChange, MsixLayout, MsixPlace};

use super::*;
use crate::kvm::test_guest::{TestGuest, vm};
use crate::kvm::test_irqchip::raised;
use crate::kvm::{IrqLines, KvmVcpu};
use devices::contract::mock::{give_it_time, wait_until};

/// Spurious-interrupt vector register, and the bit that switches the APIC on.
const SVR: usize = 0xf0;
const APIC_ENABLE: u32 = 1 << 8;
/// Interrupt request register: 8 words, 16 bytes apart.
const IRR: usize = 0x200;

struct Apic(KvmVcpu);

impl Apic {
    fn new(guest: &TestGuest) -> Self {
        let apic = Self(guest.vcpu(0));
        apic.set(SVR, APIC_ENABLE | 0xff);
        apic
    }

    fn get(&self, register: usize) -> u32 {
        let regs = self.0.fd().get_lapic().unwrap().regs;
        u32::from_le_bytes(std::array::from_fn(|i| regs[register + i] as u8))
    }

    fn set(&self, register: usize, value: u32) {
        let mut lapic = self.0.fd().get_lapic().unwrap();
        for (place, byte) in lapic.regs[register..].iter_mut().zip(value.to_le_bytes()) {
            *place = byte as _;
        }
        self.0.fd().set_lapic(&lapic).unwrap();
    }

    /// Takes a request for `vector`, if there is one.
    fn take(&self, vector: u32) -> bool {
        let word = IRR + 16 * (vector / 32) as usize;
        let requests = self.get(word);
        self.set(word, requests & !(1 << (vector % 32)));
        requests & (1 << (vector % 32)) != 0
    }

    /// As [`Self::take`], with time for KVM's work queue.
    fn delivered(&self, vector: u32) -> bool {
        wait_until("it is delivered", || self.take(vector));
        true
    }

    fn stays_quiet(&self, vector: u32) -> bool {
        give_it_time(Duration::from_millis(30));
        !self.take(vector)
    }
}

fn message(vector: u32) -> MsiMessage {
    MsiMessage { address: 0xfee0_0000, data: vector }
}

/// For each GSI, what appears in the PICs and the I/O APIC when it goes high.
fn wiring(vm: &Vm) -> Vec<(u32, u32)> {
    let mut before = 0;
    let lead_to = |gsi| {
        vm.fd().set_irq_line(gsi, true).unwrap();
        let (pics, ioapic) = raised(vm);
        vm.fd().set_irq_line(gsi, false).unwrap();
        // Requests of edge-triggered lines stay in a PIC when the line falls: only new ones count.
        (pics & !std::mem::replace(&mut before, pics), ioapic)
    };
    (0..PIN_COUNT).map(lead_to).collect()
}

#[test]
fn our_table_says_what_kvms_own_says() {
    let (Some(untouched), Some(vm)) = (vm(), vm()) else { return };
    let _routes = MsiRoutes::new(&vm).unwrap();
    let default = wiring(&untouched);
    assert_eq!(wiring(&vm), default);
    assert_eq!(default[0], (1, 1), "the timer is pin 0 of the I/O APIC");
    assert_eq!(default[15], (1 << 15, 1 << 15));
    assert_eq!(default[16], (0, 1 << 16));
}

#[test]
fn enabled_interrupt_is_delivered_as_programmed() {
    let Some(guest) = TestGuest::new(&[]) else { return };
    let apic = Apic::new(&guest);
    let routes = MsiRoutes::new(&guest.vm).unwrap();
    let (a, b) = (routes.allocate().unwrap(), routes.allocate().unwrap());
    a.enable(message(0x41)).unwrap();
    b.enable(message(0x42)).unwrap();
    a.event().write(1).unwrap();
    assert!(apic.delivered(0x41));
    assert!(apic.stays_quiet(0x42));
    a.enable(message(0x51)).unwrap();
    a.event().write(1).unwrap();
    assert!(apic.delivered(0x51), "the new message counts");
    assert!(apic.stays_quiet(0x41));
    b.event().write(1).unwrap();
    assert!(apic.delivered(0x42), "a new table keeps other routes");
}

#[test]
fn signals_while_disabled_are_delivered_once_when_enabled() {
    let Some(guest) = TestGuest::new(&[]) else { return };
    let apic = Apic::new(&guest);
    let routes = MsiRoutes::new(&guest.vm).unwrap();
    let msi = routes.allocate().unwrap();
    msi.event().write(1).unwrap();
    assert!(apic.stays_quiet(0x41));
    msi.enable(message(0x41)).unwrap();
    assert!(apic.delivered(0x41), "signalled before it was ever enabled");
    msi.disable().unwrap();
    msi.disable().unwrap();
    msi.event().write(1).unwrap();
    msi.event().write(1).unwrap();
    assert!(apic.stays_quiet(0x41));
    msi.enable(message(0x41)).unwrap();
    assert!(apic.delivered(0x41));
    assert!(apic.stays_quiet(0x41), "as one interrupt");
    msi.disable().unwrap();
    msi.enable(message(0x41)).unwrap();
    assert!(apic.stays_quiet(0x41), "what was delivered does not come again");
    msi.event().write(1).unwrap();
    assert!(apic.delivered(0x41));
}

#[test]
fn dropped_interrupt_is_freed_and_silent() {
    let Some(guest) = TestGuest::new(&[]) else { return };
    let apic = Apic::new(&guest);
    let routes = MsiRoutes::new(&guest.vm).unwrap();
    let old = routes.allocate().unwrap();
    old.enable(message(0x41)).unwrap();
    let event = old.event().try_clone().unwrap();
    drop(old);
    event.write(1).unwrap();
    assert!(apic.stays_quiet(0x41));
    // Gets the same GSI, with a stale route in the kernel.
    let new = routes.allocate().unwrap();
    new.enable(message(0x42)).unwrap();
    new.event().write(1).unwrap();
    assert!(apic.delivered(0x42));
    assert!(apic.stays_quiet(0x41));
}

#[test]
fn full_table_is_an_error_and_all_of_it_is_usable() {
    let Some(vm) = vm() else { return };
    let routes = MsiRoutes::new(&vm).unwrap();
    let max = routes.shared.capacity;
    assert!(max >= 984, "KVM has had 1024 routes since MSI came to it");
    let all: Vec<u32> = (0..max).map(|_| routes.shared.allocate().unwrap()).collect();
    assert_eq!((all[0], all[all.len() - 1]), (24, 24 + max - 1));
    let error = routes.allocate().err().unwrap().to_string();
    assert!(error.contains(&format!("room for {max}")), "{error}");
    {
        let mut table = routes.shared.table();
        table
            .messages
            .values_mut()
            .for_each(|message| *message = Some(MsiMessage { address: 0xfee0_0000, data: 0x41 }));
        routes.shared.install(&mut table).unwrap();
    }
    routes.shared.release(100);
    assert_eq!(routes.shared.allocate().unwrap(), 100);
}

#[test]
fn lines_work_beside_routes() {
    let Some(vm) = vm() else { return };
    let routes = MsiRoutes::new(&vm).unwrap();
    let msi = routes.allocate().unwrap();
    msi.enable(message(0x41)).unwrap();
    let line = IrqLines::new(&vm).share(10).unwrap();
    line.set(true);
    assert_eq!(raised(&vm), (1 << 10, 1 << 10));
}

/// A table is one slow call, and Linux waits for it with the guest's processor.
#[test]
fn b8_enabling_msix_installs_one_table_for_all_vectors() {
    const VECTORS: u16 = 33;
    let Some(guest) = TestGuest::new(&[]) else { return };
    let apic = Apic::new(&guest);
    let routes = MsiRoutes::new(&guest.vm).unwrap();
    let installed = || routes.shared.table().installed;
    let layout =
        MsixLayout::new(VECTORS, MsixPlace { bar: 4, offset: 0 }, MsixPlace { bar: 4, offset: 0x800 }).unwrap();
    let msix = Msix::new("test", layout, &routes).unwrap();
    let program = |vector: u16, data: u32| {
        let at = 16 * u64::from(vector);
        let address = (at, Width::B8, 0xfee0_0000);
        for (offset, width, value) in [address, (at + 8, Width::B4, data.into()), (at + 12, Width::B4, 0)] {
            msix.bar_write(4, offset, width, value).unwrap();
        }
    };
    (0..VECTORS).for_each(|vector| program(vector, 0x40 + u32::from(vector)));
    let before = installed();
    assert_eq!(msix.set_control(1 << 15), MsixChange::Enabled);
    assert_eq!(installed() - before, 1, "one table when it is enabled");
    for vector in [0, 17, VECTORS - 1] {
        msix.event(vector).unwrap().write(1).unwrap();
        assert!(apic.delivered(0x40 + u32::from(vector)));
    }
    // Masked as a whole, programmed again, and opened again, as a driver does that loads again.
    let _ = msix.set_control(3 << 14);
    (0..VECTORS).for_each(|vector| program(vector, 0x80 + u32::from(vector)));
    let _ = msix.set_control(1 << 15);
    assert_eq!(installed() - before, 2);
    msix.event(1).unwrap().write(1).unwrap();
    assert!(apic.delivered(0x81));
    let _ = msix.set_control(0);
    let _ = msix.set_control(1 << 15);
    assert_eq!(installed() - before, 2, "the routes are known");
}
