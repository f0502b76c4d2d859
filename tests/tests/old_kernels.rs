// SPDX-License-Identifier: Apache-2.0
//! Kernels with the habits of the time before Linux 2.6.20: their decompressor wants the BIOS's answers about
//! memory, works all over the first MiB, and keeps the boot loader's GDT. By all boot protocols of that time.

use std::path::Path;
use std::process::ExitCode;

use tests::{Finished, Heirloom, Kvm, OldKernel, trials};

/// Runs a machine with `kernel`, `words` and an initial RAM disk.
fn run(kernel: OldKernel, words: &[&str]) -> Result<Finished, String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let image = kernel.build(folder.path())?;
    let initrd = folder.path().join("initrd");
    std::fs::write(&initrd, b"GUEST initrd is there\n\0").map_err(|e| e.to_string())?;
    machine(&image).arg("--initrd").arg(initrd).args(words).finish()
}

fn machine(image: &Path) -> Heirloom {
    Heirloom::run(&["--memory", "16M", "--cpu", "legacy", "--kernel"]).arg(image)
}

/// All that the kernel looks for is there, and the command line is whole.
fn boots(protocol: u16, high: bool) -> Result<(), String> {
    let finished = run(OldKernel { protocol, high }, &["--cmdline=root=/dev/hda1 words=3"])?.expect_code(0)?;
    ["GUEST decompressing\n", "GUEST kernel is whole\n", "GUEST cmdline=root=/dev/hda1 words=3\n"]
        .into_iter()
        .chain(["GUEST initrd is there\n", "GUEST system=Heirloom/Heirloom VM/\n", "GUEST-OK old kernel\n"])
        .try_fold(finished, |finished, line| finished.expect_output(line))
        .map(drop)
}

/// The machine says who it is, and how the kernel was entered; an entry that the kernel does not have is reported.
fn says_who_it_is() -> Result<(), String> {
    let kernel = OldKernel { protocol: 0x204, high: true };
    let identity = "--smbios=vendor=ACME,,  Inc.,product=Server 2000,version=3,serial=SN-0042,\
                    uuid=12345678-9abc-def0-0102-030405060708";
    run(kernel, &[identity, "--cmdline=quiet", "--report=-", "--boot=linux32"])?
        .expect_code(0)?
        .expect_output("GUEST system=ACME,  Inc./Server 2000/3/SN-0042/\n")?
        .expect_output("entry: 32-bit\n")?;
    let refused = run(kernel, &["--boot=linux64"])?.expect_code(3)?;
    if refused.stderr.contains("has no 64-bit entry") { Ok(()) } else { Err(refused.stderr) }
}

/// From real mode, by where a BIOS would be.
fn reboots_by_the_bios() -> Result<(), String> {
    let kernel = OldKernel { protocol: 0x204, high: true };
    run(kernel, &["--cmdline=reboot=bios", "--no-reboot"])?
        .expect_code(6)?
        .expect_output("GUEST to real mode\n")
        .map(drop)
}

/// `mem=` leaves no room for the initrd that the kernel could reach.
fn initrd_stays_below_mem() -> Result<(), String> {
    let kernel = OldKernel { protocol: 0x203, high: true };
    run(kernel, &["--cmdline=mem=8M"])?.expect_code(0)?.expect_output("GUEST initrd is there\n")?;
    let refused = run(kernel, &["--cmdline=mem=1M"])?.expect_code(3)?;
    if refused.stderr.contains("mem=") { Ok(()) } else { Err(format!("it does not name mem=: {}", refused.stderr)) }
}

fn main() -> ExitCode {
    let lack = (Kvm::find() == Kvm::Missing).then_some(trials::NO_KVM);
    trials::run(vec![
        trials::trial("bzimage_2_04", || boots(0x204, true), lack),
        trials::trial("bzimage_2_02", || boots(0x202, true), lack),
        trials::trial("bzimage_2_00", || boots(0x200, true), lack),
        trials::trial("zimage_2_03", || boots(0x203, false), lack),
        trials::trial("zimage_2_01", || boots(0x201, false), lack),
        trials::trial("says_who_it_is", says_who_it_is, lack),
        trials::trial("reboots_by_the_bios", reboots_by_the_bios, lack),
        trials::trial("initrd_stays_below_mem", initrd_stays_below_mem, lack),
    ])
}
