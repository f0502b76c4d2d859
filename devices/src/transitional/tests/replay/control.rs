// SPDX-License-Identifier: Apache-2.0
//! The control queue of Linux 2.6.31 and later (reference section 4.2): receive modes, MAC table and
//! VLANs, each by a kick and a look at the used ring until the answer is there.

use vm_memory::{Bytes, GuestAddress};

use super::{Guest, Irq, linux, replay};
use crate::transitional::tests::bench::DEVICE_WRITES;

const CONTROL: usize = 2;
/// Buffers: class and command, data, answer.
const COMMAND: u64 = 0x20_7000;
const DATA: u64 = 0x20_7100;
const ANSWER: u64 = 0x20_7f00;

const OK: u8 = 0;
const ERR: u8 = 1;

/// Another station of this guest's, as with a bridge in it.
const OTHER: [u8; 6] = [0x52, 0x54, 0, 0xaa, 0xbb, 0xcc];
const ALL_HOSTS: [u8; 6] = [1, 0, 0x5e, 0, 0, 1];

impl Guest {
    /// A command with its data in as many descriptors as the driver has parts; returns the answer.
    fn control(&mut self, class: u8, command: u8, parts: &[&[u8]]) -> u8 {
        let memory = &self.stack.memory;
        memory.write_slice(&[class, command], GuestAddress(COMMAND)).unwrap();
        memory.write_obj(0xee_u8, GuestAddress(ANSWER)).unwrap();
        let mut chain = vec![(COMMAND, 2, 0)];
        let mut at = DATA;
        for part in parts {
            memory.write_slice(part, GuestAddress(at)).unwrap();
            chain.push((at, part.len() as u32, 0));
            at += part.len() as u64;
        }
        chain.push((ANSWER, 1, DEVICE_WRITES));
        self.rings[CONTROL].as_mut().unwrap().offer(memory, &chain);
        self.run("W16[16]=2");
        self.wait_for_used(CONTROL);
        self.stack.memory.read_obj(GuestAddress(ANSWER)).unwrap()
    }

    fn set_mode(&mut self, command: u8, on: u8) {
        assert_eq!(self.control(0, command, &[&[on]]), OK);
    }

    /// Both tables, each with its count in front and in a descriptor of its own.
    fn set_mac_table(&mut self, unicast: &[[u8; 6]], multicast: &[[u8; 6]]) -> u8 {
        let table = |list: &[[u8; 6]]| [&(list.len() as u32).to_le_bytes()[..], &list.concat()].concat();
        self.control(1, 0, &[&table(unicast), &table(multicast)])
    }

    /// A question from the other station and then one of our own. Answers come in order, so which one
    /// arrives in the one buffer says whether the first was received.
    fn other_station_hears(&mut self, hears: bool, irq: Irq) {
        self.stack.memory.write_slice(&[0; 64], GuestAddress(0x20_1000)).unwrap();
        self.run("rx W16[16]=0");
        self.send_question(OTHER, 50);
        if hears {
            return self.take_answer(OTHER, 50, irq);
        }
        self.ask_the_network(51, irq);
    }
}

/// As [`linux::NET_START`], with CTRL_RX and CTRL_VLAN accepted as well.
fn start() -> String {
    let trace = linux::NET_START.replace("f&0x30020", "f&0xf0020");
    assert_ne!(trace, linux::NET_START);
    trace
}

/// What the network layer sets when the interface comes up, and then what administrators do.
fn modes_and_tables(guest: &mut Guest, irq: Irq) {
    guest.ask_the_network(1, irq);
    guest.other_station_hears(true, irq);
    guest.set_mode(0, 0);
    guest.set_mode(1, 0);
    assert_eq!(guest.set_mac_table(&[], &[ALL_HOSTS]), OK);
    guest.other_station_hears(false, irq);
    assert_eq!(guest.set_mac_table(&[OTHER], &[ALL_HOSTS]), OK);
    guest.other_station_hears(true, irq);
    assert_eq!(guest.set_mac_table(&[], &[]), OK);
    guest.other_station_hears(false, irq);
    guest.set_mode(0, 1);
    guest.other_station_hears(true, irq);
    guest.set_mode(0, 0);
    guest.set_mode(1, 1);
    guest.other_station_hears(false, irq);
    for (command, id) in [(0, 0_u16), (0, 100), (1, 100)] {
        assert_eq!(guest.control(2, command, &[&id.to_le_bytes()]), OK);
    }
    guest.ask_again(2, irq);
    // What the device does not know is refused and harmless.
    assert_eq!(guest.control(0, 2, &[&[1]]), ERR);
    assert_eq!(guest.control(4, 0, &[&1_u16.to_le_bytes()]), ERR);
    assert_eq!(guest.control(1, 0, &[&[9, 0, 0, 0]]), ERR);
    guest.ask_again(3, irq);
}

#[test]
fn linux_2_6_31_sets_modes_tables_and_vlans_with_msix() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        guest.run(&start());
        guest.run(linux::NET_MSIX);
        modes_and_tables(guest, Irq::Msix(1));
        // A reset ends the filter: the next driver starts with everything.
        guest.set_mode(1, 0);
        guest.run(linux::UNLOAD_MSIX);
        guest.run(&start());
        guest.run(linux::NET_MSIX);
        guest.ask_the_network(4, Irq::Msix(1));
        guest.other_station_hears(true, Irq::Msix(1));
        guest.run(linux::UNLOAD_MSIX);
    });
}

/// The control queue has a hidden vector like the others, and 2.6.31 does not ask for interrupts of
/// it; the line must not be left high by one.
#[test]
fn rhel_5_sets_modes_and_tables_with_intx() {
    replay(Guest::net, |guest| {
        guest.run(&start());
        guest.run(linux::NET_INTX);
        guest.without_interrupts(CONTROL);
        modes_and_tables(guest, Irq::Intx);
        guest.run(linux::UNLOAD_INTX);
    });
}

/// A driver that did not accept CTRL_RX may not send its commands, and nothing changes if it does.
#[test]
fn commands_that_were_not_negotiated_are_refused() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        guest.run(linux::NET_START);
        guest.run(linux::NET_MSIX);
        assert_eq!(guest.control(0, 0, &[&[0]]), ERR);
        assert_eq!(guest.set_mac_table(&[], &[]), ERR);
        assert_eq!(guest.control(2, 0, &[&[1, 0]]), ERR);
        guest.ask_the_network(1, Irq::Msix(1));
        guest.other_station_hears(true, Irq::Msix(1));
        guest.run(linux::UNLOAD_MSIX);
    });
}
