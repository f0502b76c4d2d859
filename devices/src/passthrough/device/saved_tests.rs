// SPDX-License-Identifier: Apache-2.0
use crate::bus::{Access, Width};
use crate::contract::mock::{make_up_states, move_state};
use crate::passthrough::InterruptUse;
use crate::passthrough::testing::*;
use crate::pci::PciDevice;

fn used() -> Bench {
    let bench = Bench::new();
    bench.device.place_bar(2, 0xc000_0000);
    let _ = bench.device.config_write(4, Width::B2, 6);
    for (offset, value) in [(0x3000, 0xfee0_1000), (0x3008, 0x41), (0x300c, 0)] {
        let _ = bench.device.bar_write(2, Access { offset, width: Width::B4, vcpu: 0 }, value);
    }
    let _ = bench.device.config_write(MSIX + 2, Width::B2, 0x8000);
    bench
}

#[test]
fn a_guest_goes_on_and_the_function_is_used_as_before() {
    let (first, second) = (used(), Bench::new());
    second.function.take_log();
    move_state(&*first.device, &*second.device);
    assert_eq!(second.function.take_log(), ["config 4.2=7", "intx off", "msix 4"]);
    assert_eq!(second.device.windows(), first.device.windows());
    assert_eq!(second.msi.routes(), first.msi.routes());
    assert_eq!(second.device.report().interrupts, InterruptUse::Msix);
    for offset in (0..256).step_by(4) {
        let both = [&first, &second].map(|bench| bench.device.config_read(offset, Width::B4));
        assert_eq!(both[0], both[1], "{offset:#x}");
    }
    first.device.taken_away("unplugged");
    move_state(&*first.device, &*second.device);
    assert!(second.device.is_gone());
}

#[test]
fn no_made_up_state_takes_the_machine_down() {
    let bench = used();
    let taken = make_up_states(&*bench.device, |_| {
        for offset in (0..256).step_by(4) {
            bench.device.config_read(offset, Width::B4);
        }
        bench.device.windows();
    });
    assert!(taken > 20, "{taken}");
}
