// SPDX-License-Identifier: Apache-2.0
use api::{CpusConfig, MemoryConfig, NetBackend, PayloadConfig, SmbiosConfig};
use std::fs::File;

use tempfile::TempDir;

use super::*;

struct Files {
    dir: TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { dir: TempDir::new().unwrap() };
        files.write("kernel", 1);
        files
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn write(&self, name: &str, size: u64) -> PathBuf {
        File::create(self.path(name)).unwrap().set_len(size).unwrap();
        self.path(name)
    }
    fn config(&self, devices: Vec<LegacyVirtioConfig>) -> VmConfig {
        VmConfig {
            payload: PayloadConfig { kernel: Some(self.path("kernel")), ..PayloadConfig::default() },
            cpus: CpusConfig::default(),
            memory: MemoryConfig::default(),
            serial: ConsoleConfig::default(),
            legacy_virtio: devices,
            devices: Vec::new(),
            smbios: SmbiosConfig::default(),
            rtc: Default::default(),
            screen: Default::default(),
        }
    }
}

fn device(id: Option<&str>, soft: SoftDevice) -> LegacyVirtioConfig {
    let id = id.map(str::to_owned);
    serde_json::from_value(serde_json::json!({ "id": id, "soft": soft })).unwrap()
}

fn blk(id: Option<&str>, file: PathBuf, readonly: bool) -> LegacyVirtioConfig {
    device(id, SoftDevice::Blk { file, readonly })
}

fn net(id: Option<&str>, mac: Option<&str>) -> LegacyVirtioConfig {
    device(id, SoftDevice::Net { backend: NetBackend::Loopback, mac: mac.map(|m| m.parse().unwrap()) })
}

fn refused(config: &VmConfig) -> String {
    let error = Plan::check(config).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[test]
fn a_machine_with_two_devices_gets_names_and_addresses() {
    let files = Files::new();
    let disk = files.write("disk", 1 << 20);
    let plan =
        Plan::check(&files.config(vec![net(Some("blk1"), None), blk(None, disk, false), net(None, None)])).unwrap();
    let ids: Vec<_> = plan.functions.legacy.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(ids, ["blk1", "blk2", "net2"], "blk1 is taken by name");
    let VfPlan::Soft(SoftPlan::Blk(disk)) = &plan.functions.legacy[1].vf else { panic!("no disk") };
    assert_eq!(disk.size, 1 << 20);
}

#[test]
fn two_devices_with_one_id_or_one_address() {
    let files = Files::new();
    assert!(
        refused(&files.config(vec![net(Some("a"), None), net(Some("a"), None)]))
            .contains("two devices have the id 'a'")
    );
    let mac = Some("52:54:00:4c:56:01");
    assert!(
        refused(&files.config(vec![net(None, mac), net(None, mac)])).contains("two network cards have the address")
    );
}

#[test]
fn names_and_addresses_that_are_given_out_are_free_ones_and_stay() {
    let files = Files::new();
    let (mac, id) = (Some("52:54:00:4c:56:01"), Some("net2"));
    let config = complete(files.config(vec![net(id, mac), net(None, None), net(None, None)]), None).unwrap();
    let given = |config: &VmConfig| -> Vec<_> {
        let of = |device: &LegacyVirtioConfig| match &device.origin {
            VfOrigin::Soft(SoftDevice::Net { mac, .. }) => {
                format!("{} {}", device.id.as_deref().unwrap(), mac.unwrap())
            }
            _ => String::new(),
        };
        config.legacy_virtio.iter().map(of).collect()
    };
    let expected = given(&config);
    assert_eq!(expected[0], "net2 52:54:00:4c:56:01");
    assert!(expected[1].starts_with("net1 52:") && expected[2].starts_with("net3 52:"), "{expected:?}");
    assert_eq!(complete(config.clone(), None).unwrap(), config);
    let mut fewer = config;
    fewer.legacy_virtio.remove(0);
    assert_eq!(given(&complete(fewer, Some(Path::new("/another"))).unwrap()), expected[1..]);
}

fn mac(config: &VmConfig, name: Option<&str>) -> [u8; 6] {
    let config = complete(config.clone(), name.map(Path::new)).unwrap();
    let of = |device: &LegacyVirtioConfig| match &device.origin {
        VfOrigin::Soft(SoftDevice::Net { mac, .. }) => *mac,
        _ => None,
    };
    config.legacy_virtio.iter().find_map(of).unwrap().0
}

/// The same at the next start, different between machines, and nobody else's (IEEE 802: locally administered, for one
/// station).
#[test]
fn d14_addresses_are_a_machines_own() {
    let files = Files::new();
    let disks = ["a", "b"].map(|name| files.write(name, 1 << 20));
    let with_disk = |disk: &PathBuf| files.config(vec![net(None, None), blk(None, disk.clone(), false)]);
    let diskless = || files.config(vec![net(None, None)]);
    let tap = |name: &str| {
        let backend = NetBackend::Tap(name.to_owned());
        files.config(vec![device(None, SoftDevice::Net { backend, mac: None })])
    };
    let with_uuid = |uuid: &str| {
        let mut config = with_disk(&disks[0]);
        config.smbios.uuid = Some(uuid.to_owned());
        config
    };
    let uuid = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
    let machines = [
        (with_disk(&disks[0]), None),
        (with_disk(&disks[1]), None),
        (diskless(), None),
        (diskless(), Some("/run/one.sock")),
        (diskless(), Some("/run/two.sock")),
        (tap("tap0"), None),
        (tap("tap1"), None),
        (with_uuid(uuid), None),
        (with_uuid("bd8d9d2b-5a5f-4f5a-a211-f591514ba1f4"), None),
    ];
    let macs: Vec<_> = machines.iter().map(|(config, name)| mac(config, *name)).collect();
    for (position, mac) in macs.iter().enumerate() {
        assert_eq!(mac[0] & 3, 2, "{mac:02x?}");
        assert!(!macs[..position].contains(mac), "{position}: {mac:02x?}");
    }
    let again: Vec<_> = machines.iter().map(|(config, name)| mac(config, *name)).collect();
    assert_eq!(macs, again);
    // What may change from one start to the next changes nothing.
    let mut other = with_disk(&disks[0]);
    (other.memory.size, other.cpus.boot_vcpus, other.payload.cmdline) = (1 << 30, 4, Some("quiet".into()));
    other.legacy_virtio.push(net(None, None));
    assert_eq!(mac(&other, Some("/run/api.sock")), macs[0]);
    // A UUID goes with the machine to another host: its address is known for ever.
    assert_eq!(mac(&with_uuid(&uuid.to_uppercase()), None), [0x52, 0x55, 0xb2, 0xca, 0x64, 0xf4]);
}

#[test]
fn disks_that_are_none() {
    let files = Files::new();
    let odd = files.write("odd", 1000);
    let empty = files.write("empty", 0);
    for (path, wanted) in [
        (odd, "not a multiple of 512: extend it with 'truncate -s 1024"),
        (empty, "is empty"),
        (files.path("nowhere"), "No such file"),
        (files.dir.path().to_owned(), "neither a regular file nor a block device"),
    ] {
        let text = refused(&files.config(vec![blk(None, path, false)]));
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn a_disk_is_shared_by_readers_only() {
    let files = Files::new();
    let disk = files.write("disk", 512);
    let both = |a, b| files.config(vec![blk(None, disk.clone(), a), blk(None, disk.clone(), b)]);
    assert!(refused(&both(false, false)).contains("in use"));
    assert!(refused(&both(true, false)).contains("in use"));
    Plan::check(&both(true, true)).unwrap();
    Plan::check(&files.config(vec![blk(None, disk.clone(), false)])).unwrap();
}

#[test]
fn missing_kernel_and_odd_sizes() {
    let files = Files::new();
    let mut config = files.config(vec![]);
    config.payload.kernel = Some(files.path("none"));
    assert!(refused(&config).contains("cannot open the kernel"));
    config.payload.kernel = Some(files.dir.path().to_owned());
    assert!(refused(&config).contains("not a regular file"));
    let mut config = files.config(vec![]);
    for size in [0, 4 << 20, (64 << 20) + 4096] {
        config.memory.size = size;
        assert!(refused(&config).contains("multiple of 1M"), "{size}");
    }
}

#[test]
fn nothing_is_created_for_a_machine_that_cannot_be() {
    let files = Files::new();
    let mut config = files.config(vec![blk(None, files.path("none"), false)]);
    config.serial = ConsoleConfig { mode: ConsoleMode::File, file: Some(files.path("serial.log")) };
    refused(&config);
    assert!(!files.path("serial.log").exists() && !files.path("none").exists());
}

#[test]
fn memory_options() {
    let files = Files::new();
    let with = |change: &dyn Fn(&mut MemoryConfig)| {
        let mut config = files.config(vec![]);
        change(&mut config.memory);
        config
    };
    let plan = |change: &dyn Fn(&mut MemoryConfig)| Plan::check(&with(change)).unwrap().memory;
    assert_eq!(plan(&|_| {}), MemoryPlan { size: MemoryConfig::default().size, ..MemoryPlan::default() });
    assert_eq!(plan(&|m| m.hugepages = true).hugetlb, Some(2 << 20));
    assert!(plan(&|m| m.shared = true).shared && plan(&|m| m.prefault = true).prefault);
    let wrong = |change: &dyn Fn(&mut MemoryConfig)| refused(&with(change));
    assert!(wrong(&|m| m.hugepage_size = Some(2 << 20)).contains("add hugepages=on"));
    let odd = |m: &mut MemoryConfig| (m.hugepages, m.hugepage_size) = (true, Some(4 << 20));
    assert!(wrong(&odd).contains("must be 2M or 1G"));
    let small = |m: &mut MemoryConfig| (m.hugepages, m.hugepage_size) = (true, Some(1 << 30));
    assert!(wrong(&small).contains("multiple of the huge pages' 1G; use 1G"));
}
