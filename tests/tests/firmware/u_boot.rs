// SPDX-License-Identifier: Apache-2.0
//! U-Boot as Debian built it: another firmware, 1 MiB large, with a legacy virtio driver and a shell of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tests::Console;
use tests::report::{check, device, last_boot};

use super::seabios::Bench;

const IMAGE: &str = "/usr/lib/u-boot/qemu-x86/u-boot.rom";
/// For one that hangs.
const LIMIT: Duration = Duration::from_secs(300);
const TEXT: &[u8] = b"WHAT U-BOOT READ";

/// Why this cannot run.
pub(crate) fn lack() -> Option<&'static str> {
    (!Path::new(IMAGE).is_file()).then_some("U-Boot is not installed (Debian: apt install u-boot-qemu)")
}

/// Its shell shows the disk, reads a sector of it and writes another, and pings, by the legacy registers.
pub(crate) fn shell_uses_disk_and_card() -> Result<(), String> {
    let failed = |e: std::io::Error| e.to_string();
    let bench = Bench::new(&[0; 512], "")?;
    let mut image = fs::read(bench.path("disk.img")).map_err(failed)?;
    image[3 * 512..3 * 512 + TEXT.len()].copy_from_slice(TEXT);
    fs::write(bench.path("disk.img"), &image).map_err(failed)?;
    let commands = b"virtio scan; virtio info; virtio read 100000 3 1; md.b 100000 10; virtio write 100000 9 1; \
        setenv ipaddr 10.0.2.15; setenv netmask 255.255.255.0; ping 10.0.2.2; reset\n";
    let steps: [(&str, &[u8]); 2] = [("Hit any key", b" "), ("=> ", commands)];
    let card = "--legacy-virtio=soft=net,loopback,id=net";
    let run = bench.run("", &[card, "--no-reboot", "--firmware", IMAGE]);
    let (status, text) = Console::talk(run, &steps, LIMIT)?;
    if status.code() != Some(6) {
        return Err(format!("{status}\n{text}"));
    }
    let written = "1 blocks written: OK";
    let wanted = ["(2048 x 512)", "1 blocks read: OK", "WHAT U-BOOT READ", written, "host 10.0.2.2 is alive"];
    for wanted in wanted {
        if !text.contains(wanted) {
            return Err(format!("'{wanted}' was not printed\n{text}"));
        }
    }
    image.copy_within(3 * 512..4 * 512, 9 * 512);
    if fs::read(bench.path("disk.img")).map_err(failed)? != image {
        return Err("the disk has other bytes than sector 3 in sector 9".to_owned());
    }
    let boot = last_boot(&bench.path("report.json"))?;
    for id in ["disk", "net"] {
        let function = device(&boot, id)?;
        check(function["accesses"]["writes"].as_u64() > Some(4), "not by the legacy registers", function)?;
    }
    Ok(())
}
