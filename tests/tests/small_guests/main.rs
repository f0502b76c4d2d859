// SPDX-License-Identifier: Apache-2.0
//! The bare-metal guest of `tests/guests` on `/dev/kvm`, however slow that is: legacy block and net
//! drivers of our own over the software PF's virtual functions.

mod bench;
mod functions;
mod machine;
mod messages;
mod signals;
mod traces;

use std::process::ExitCode;

use tests::{Kvm, free_memory, trials};

type Test = fn() -> Result<(), String>;

const TESTS: &[(&str, Test)] = &[
    ("traced", traces::traced),
    ("traced_to_a_reader_that_is_stuck", traces::traced_to_a_reader_that_is_stuck),
    ("traced_until_a_signal", traces::traced_until_a_signal),
    ("hello_and_power_off", || machine::scenario("test=hello", "GUEST-OK hello")),
    ("blk_polled", || functions::blk("poll", "")),
    ("blk_polled_kicks_from_the_exit_loop", || functions::blk("poll", ",notify=exit")),
    ("blk_intx_through_the_pics", || functions::blk("pic", "")),
    ("blk_intx_through_the_ioapic", || functions::blk("ioapic", ",irq=intx")),
    ("blk_msix", || functions::blk("msix", "")),
    ("early_driver_ok_last_poll", || functions::early("driver_ok", "poll", "")),
    ("early_driver_ok_last_msix", || functions::early("driver_ok", "msix", "")),
    ("early_features_last_pic", || functions::early("features", "pic", ",notify=exit")),
    ("early_no_status_ioapic", || functions::early("status", "ioapic", "")),
    ("early_pass_to_a_disk_that_serves_it", || functions::early("driver_ok", "msix", ",early=pass")),
    ("blk_msix_only_device", || functions::blk("msix", ",irq=msix,notify=exit")),
    ("net_polled", || functions::net("poll", "")),
    ("net_intx", || functions::net("pic", ",irq=intx")),
    ("net_msix", || functions::net("msix", "")),
    ("net_tap", functions::net_tap),
    ("reboot", machine::reboot),
    ("e15_p7_chips_through_the_pics", || machine::chips("pic")),
    ("e15_p7_chips_through_the_ioapic", || machine::chips("ioapic")),
    ("bar_moves", || machine::scenario("test=bars", "survives a BAR on top of it")),
    ("bar_moves_intx", || machine::scenario("test=bars irq=pic", "GUEST-OK bars")),
    ("every_offset_and_width", machine::sweep),
    ("rings_bars_msix_and_chips_abused", machine::abuse),
    ("processors_quarrel_about_a_device", machine::quarrel),
    ("smp_register_hammering", machine::smp),
    ("driver_reload_intx", || machine::scenario("test=reload irq=pic count=50", "GUEST reloads=50")),
    ("driver_reload_msix", || machine::scenario("test=reload irq=msix count=50", "GUEST reloads=50")),
    ("memory_above_the_pci_hole", || machine::memory(&["4G"])),
    // The second fills the room below the PCI hole up to the end that a BIOS of the time knew.
    ("memory_16_mib_and_3_5_gib", || machine::memory(&["16M", "3584M"])),
    ("memory_64_gib", || machine::memory(&["64G"])),
    ("processors_1_to_32", machine::processors_1_to_32),
    ("cpu_host", machine::cpu_host),
    ("cpu_of_a_year", machine::cpu_of_a_year),
    ("a_32_bit_processor_runs_no_64_bit_kernel", machine::a_32_bit_processor_runs_no_64_bit_kernel),
    ("read_only_disk", functions::read_only_disk),
    ("crash_leaves_a_register_dump", machine::crash),
    ("reset_ends_with_no_reboot", machine::reset_ends_with_no_reboot),
    ("sigterm_ends_a_running_guest", signals::sigterm_ends_a_running_guest),
    ("a1_a_disk_that_never_answers_holds_no_end_up", signals::a1_a_disk_that_never_answers_holds_no_end_up),
    ("signals_end_a_guest_that_does_not_listen", signals::signals_end_a_guest_that_does_not_listen),
    (
        "f19_a_signal_that_was_ignored_at_start_stays_ignored",
        signals::f19_a_signal_that_was_ignored_at_start_stays_ignored,
    ),
    ("messages_that_cannot_be_written_change_nothing", messages::messages_that_cannot_be_written_change_nothing),
    ("limits_of_the_process_are_errors", messages::limits_of_the_process_are_errors),
    ("a_crash_is_told_without_a_report", messages::a_crash_is_told_without_a_report),
    ("events_and_messages_are_lines_of_json", messages::events_and_messages_are_lines_of_json),
];

fn main() -> ExitCode {
    let missing = Kvm::find() == Kvm::Missing;
    let no_tap = functions::tap_lack();
    let tests = TESTS.iter().map(|(name, test)| {
        let lack = match *name {
            _ if missing => Some(trials::NO_KVM),
            "net_tap" => no_tap,
            "memory_64_gib" if free_memory() < 65 << 30 => Some("less than 65 GiB of memory are free"),
            "memory_above_the_pci_hole" | "memory_16_mib_and_3_5_gib" if free_memory() < 5 << 30 => {
                Some("less than 5 GiB of memory are free")
            }
            _ => None,
        };
        trials::trial(name, test, lack)
    });
    trials::run(tests.collect())
}
