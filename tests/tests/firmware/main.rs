// SPDX-License-Identifier: Apache-2.0
//! Machines that start by firmware, straight on `/dev/kvm`.

mod disks;
mod loaders;
mod netboot;
mod old_loaders;
mod option_rom;
mod rom;
mod screen;
mod seabios;
mod u_boot;

use std::process::ExitCode;

use tests::{Kvm, trials};

type Test = fn() -> Result<(), String>;

const TESTS: &[(&str, Test)] = &[
    ("starts_at_the_reset_vector", rom::starts_at_the_reset_vector),
    ("a_reset_starts_the_firmware_again", rom::a_reset_starts_the_firmware_again),
    ("the_image_below_4_gib_cannot_be_written", rom::the_image_below_4_gib_cannot_be_written),
    ("bad_images", rom::bad_images),
    ("files_that_are_no_rom", option_rom::files_that_are_no_rom),
];

const SEABIOS: &[(&str, Test)] = &[
    ("seabios_boots_a_disk_and_is_started_again", seabios::boots_a_disk_and_is_started_again),
    ("seabios_takes_the_modern_interface_where_it_sees_it", seabios::takes_the_modern_interface_where_it_sees_it),
    ("e15_p7_seabios_waits_by_the_clock_and_takes_keys", seabios::waits_by_the_clock_and_takes_keys),
    ("a_disk_without_boot_sector", seabios::a_disk_without_boot_sector),
    ("a_boot_sector_that_writes_everywhere", disks::a_boot_sector_that_writes_everywhere),
    ("a_boot_sector_that_loops", disks::a_boot_sector_that_loops),
    ("three_disks_in_another_order", disks::three_disks_in_another_order),
    ("a_disk_chosen_from_the_menu", disks::a_disk_chosen_from_the_menu),
    ("sizes_of_disks", disks::sizes_of_disks),
    ("seabios_executes_the_rom_of_a_function", option_rom::seabios_executes_the_rom_of_a_function),
];

const SCREEN: &[(&str, Test)] = &[
    ("the_screen_shows_what_a_boot_sector_writes_by_int_10h", screen::shows_what_a_boot_sector_writes_by_int_10h),
    ("the_bios_is_on_the_screen_and_on_the_serial_port", screen::the_bios_is_on_the_screen_and_on_the_serial_port),
];

fn main() -> ExitCode {
    let kvm = Kvm::find();
    let lack = (kvm == Kvm::Missing).then_some(trials::NO_KVM);
    let own = TESTS.iter().map(|(name, test)| trials::trial(name, test, lack));
    let seabios = SEABIOS.iter().map(|(name, test)| trials::trial(name, test, lack.or_else(seabios::lack)));
    let lack_of_screen = lack.or_else(seabios::lack).or_else(screen::lack);
    let screen = SCREEN.iter().map(|(name, test)| trials::trial(name, test, lack_of_screen));
    let no_loader = |tools: Option<&'static str>| lack.or_else(seabios::lack).or(tools);
    // KVM_INTERNAL_ERROR_EMULATION at the IRET by which they leave an interrupt in protected mode.
    let no_iret = (kvm == Kvm::Emulated).then_some("the emulating /dev/kvm has no IRET in protected mode");
    let loaders = [
        trials::trial("grub_2", loaders::grub2, no_loader(loaders::grub_lack())),
        trials::trial("grub_legacy", old_loaders::grub_legacy, no_loader(old_loaders::grub_legacy_lack())),
        trials::trial(
            "grub_legacy_on_the_screen",
            old_loaders::grub_legacy_on_the_screen,
            no_loader(screen::lack().or_else(old_loaders::grub_legacy_lack).or_else(|| loaders::lack(&["script"]))),
        ),
        trials::trial("extlinux", old_loaders::extlinux, no_iret.or_else(|| no_loader(old_loaders::extlinux_lack()))),
        trials::trial("syslinux", loaders::syslinux, no_iret.or_else(|| no_loader(loaders::syslinux_lack()))),
        trials::trial(
            "ipxe_boots_a_kernel",
            netboot::ipxe_boots_a_kernel,
            no_iret.or_else(|| no_loader(netboot::lack())),
        ),
        trials::trial("ipxe_boots_debian", netboot::ipxe_boots_debian, no_loader(netboot::lack_of_debian(kvm))),
    ];
    let u_boot =
        trials::trial("u_boot_uses_disk_and_card", u_boot::shell_uses_disk_and_card, lack.or_else(u_boot::lack));
    trials::run(own.chain([u_boot]).chain(seabios).chain(screen).chain(loaders).collect())
}
