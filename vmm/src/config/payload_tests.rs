// SPDX-License-Identifier: Apache-2.0
use std::fs;

use tempfile::TempDir;

use super::*;

fn rom(size: usize) -> Vec<u8> {
    let mut rom = vec![0xf4; size];
    rom[size - 16] = 0xea;
    rom
}

fn refused(config: &PayloadConfig) -> (String, Option<String>) {
    let error = PayloadPlan::check(config).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    (format!("{error}: {cause}"), error.field())
}

#[test]
fn a_firmware_image_is_read_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("bios.bin");
    fs::write(&path, rom(128 << 10)).unwrap();
    let plan = PayloadPlan::check(&PayloadConfig { firmware: Some(path.clone()), ..PayloadConfig::default() }).unwrap();
    let PayloadPlan::Firmware(image) = plan else { panic!("{plan:?}") };
    assert_eq!((image.bytes, image.path), (rom(128 << 10), path));
}

#[test]
fn what_contradicts_a_firmware() {
    let path = || Some(PathBuf::from("/nonexistent"));
    let (text, field) = refused(&PayloadConfig { kernel: path(), firmware: path(), ..PayloadConfig::default() });
    assert!(text.contains("a kernel and a firmware"), "{text}");
    assert_eq!(field.as_deref(), Some("payload.firmware"));
    let (text, field) = refused(&PayloadConfig { initramfs: path(), firmware: path(), ..PayloadConfig::default() });
    assert!(text.contains("give --kernel FILE"), "{text}");
    assert_eq!(field.as_deref(), Some("payload.initramfs"));
    let cmdline = Some("quiet".to_owned());
    let (text, field) = refused(&PayloadConfig { cmdline, firmware: path(), ..PayloadConfig::default() });
    assert!(text.contains("boot loader's configuration"), "{text}");
    assert_eq!(field.as_deref(), Some("payload.cmdline"));
}

#[test]
fn files_that_are_no_firmware() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("bios.bin");
    let with = |path: &Path| PayloadConfig { firmware: Some(path.to_owned()), ..PayloadConfig::default() };
    for (content, wanted) in [
        (Vec::new(), "this file has 0 bytes"),
        (rom(100_000), "this file has 100000 bytes"),
        (rom(17 << 20), "this file has more"),
        (vec![0; 64 << 10], "have no jump: it is not PC firmware"),
    ] {
        fs::write(&path, content).unwrap();
        let (text, field) = refused(&with(&path));
        assert!(text.contains(wanted), "{text}");
        assert_eq!(field.as_deref(), Some("payload.firmware"));
    }
    for path in [dir.path().join("none"), dir.path().to_owned()] {
        assert!(refused(&with(&path)).0.contains("cannot read the firmware"));
    }
}
