// SPDX-License-Identifier: Apache-2.0
use crate::bus::{Access, Width};
use crate::contract::Saved;
use crate::contract::mock::{make_up_states, move_state};
use crate::pci::Command;
use crate::pci::PciDevice;
use crate::transitional::tests::bench::{Bench, Setup};

fn bench() -> Bench {
    let mut setup = Setup { ports: true, ..Setup::net() };
    setup.config.shadow = true;
    setup.build()
}

#[test]
fn a_guest_goes_on_where_it_was_and_cannot_tell() {
    let first = bench();
    first.set_command(Command::IO | Command::BUS_MASTER);
    first.start_intx();
    first.r32(0);
    assert!(first.vf.signal(1));
    first.pump();
    let second = bench();
    move_state(&*first.device, &*second.device);
    second.device.placed(&second.device.windows());
    assert_eq!(second.log().iter().filter(|line| line.starts_with('R') || line.starts_with('W')).count(), 0);

    assert!(second.line.is_high(), "the interrupt that was pending");
    for (offset, width) in [
        (0, Width::B4),
        (4, Width::B4),
        (8, Width::B4),
        (12, Width::B2),
        (14, Width::B2),
        (18, Width::B1),
        (19, Width::B1),
    ] {
        assert_eq!(second.read(offset, width), first.read(offset, width), "offset {offset}");
    }
    assert!(!second.line.is_high());
    assert_eq!(second.device.windows(), first.device.windows());
    assert_eq!(second.ports.places(), first.ports.places());
    let (report, before) = (second.device.report(), first.device.report());
    assert_eq!((report.status, report.queues, report.interrupts), (before.status, before.queues, before.interrupts));
}

#[test]
fn a_function_out_of_service_stays_so() {
    let first = bench();
    first.device.failed("for a test");
    let second = bench();
    second.device.set_state(first.device.state()).unwrap();
    assert_eq!(second.device.report().faulted.as_deref(), Some("for a test"));
    second.w8(18, 0);
    assert_eq!(second.device.report().faulted, None, "until the guest resets it");
}

#[test]
fn no_state_can_write_what_is_read_only_or_name_what_is_not_there() {
    let bench = bench();
    let mut state = serde_json::to_value(bench.device.state()).unwrap();
    let identity = bench.config_read(0, Width::B4);
    state["config"]["space"] = serde_json::json!([[0, 0xff], [1, 0xff], [0xffff, 1], [0x3c, 7]]);
    state["kicks"]["configured"] = serde_json::json!([1, 5000]);
    state["interrupts"]["armed"] = serde_json::json!([65535]);
    state["interrupts"]["config_vector"] = serde_json::json!(999);
    bench.device.set_state(serde_json::from_value(state).unwrap()).unwrap();
    assert_eq!((bench.config_read(0, Width::B4), bench.config_read(0x3c, Width::B1)), (identity, 7));
    assert_eq!(bench.device.report().queues, [1]);
    bench.set_msix(true);
    bench.start_intx();
}

/// Whatever a state says, the guest gets answers.
#[test]
fn no_made_up_state_takes_the_machine_down() {
    let bench = bench();
    bench.set_command(Command::IO | Command::BUS_MASTER);
    bench.start_intx();
    let taken = make_up_states(&*bench.device, |_| {
        bench.device.placed(&bench.device.windows());
        for offset in 0..32 {
            let access = Access { offset, width: Width::B1, vcpu: 0 };
            bench.device.bar_read(0, access);
            let _ = bench.device.bar_write(0, access, 1);
        }
        bench.config_read(4, Width::B2);
    });
    assert!(taken > 100, "{taken}");
}
