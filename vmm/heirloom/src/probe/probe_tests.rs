// SPDX-License-Identifier: Apache-2.0

use api::types::{ProbeCheck, ProbeResult};
use devices::admin::wire::NotifyEntry;
use devices::soft_pf::{NetBackend, NotifyQuirk, Quirks, ReplyQuirks, SoftPf, VfQuirks, VfSpec};

use super::deep::{Member, Resources};
use super::*;
use crate::pf::fixture::{CARD, Fixture, PF, VF1, VF2, bdf, config};
use vmm::kvm::{KvmError, Speed, Vm};

const TARGET: fn() -> Target = || Target::Pf(bdf(PF));

fn probe(fixture: &Fixture, target: Target) -> ProbeReport {
    let request = ProbeRequest { paths: fixture.paths(), ..ProbeRequest::new(target) };
    let mut checks = Checks::default();
    host::check(&mut checks, &request);
    match &request.target {
        Target::Vf(vf) => functions::vf_and_pf(&mut checks, &request, *vf),
        Target::Pf(pf) => functions::pf_and_vfs(&mut checks, &request, *pf),
        _ => functions::all(&mut checks, &request),
    }
    checks.report()
}

fn find<'a>(report: &'a ProbeReport, name: &str, function: &str) -> &'a ProbeCheck {
    let of = |check: &&ProbeCheck| check.name == name && check.function.as_deref().unwrap_or("") == function;
    report.checks.iter().find(of).unwrap_or_else(|| panic!("no {name} of {function}: {report:#?}"))
}

/// What the check says, after the change.
#[track_caller]
fn becomes(fixture: &Fixture, name: &str, function: &str, result: ProbeResult, says: &str) {
    let report = probe(fixture, TARGET());
    let check = find(&report, name, function);
    assert_eq!(check.result, result, "{check:?}");
    assert!(check.detail.contains(says), "{check:?}");
    assert_eq!(report.usable, report.checks.iter().all(|check| check.result != ProbeResult::Fail));
    if matches!(result, ProbeResult::Warn | ProbeResult::Fail) {
        assert!(check.fix.as_ref().is_some_and(|fix| !fix.is_empty()), "{check:?}");
    }
}

use ProbeResult::{Fail, Pass, Unknown, Warn};

#[test]
fn a_prepared_pf_has_no_failing_line() {
    let fixture = Fixture::prepared();
    fixture.write("proc/self/status", "CapEff:\t000001ffffffffff\n");
    for target in [TARGET(), Target::Vf(bdf(VF2)), Target::All] {
        let report = probe(&fixture, target);
        assert!(report.usable, "{report:#?}");
        assert_eq!(find(&report, "admin_queue", PF).result, Unknown);
        assert_eq!(find(&report, "queue_sizes", VF2).result, Unknown);
        assert_eq!(find(&report, "msix_vectors", VF2).detail, "4");
    }
    let of_vf = probe(&fixture, Target::Vf(bdf(VF2)));
    assert!(of_vf.checks.iter().all(|check| check.function.as_deref() != Some(VF1)), "{of_vf:#?}");
}

#[test]
fn a_fresh_pf_is_told_how_it_is_prepared() {
    let fixture = Fixture::fresh();
    becomes(&fixture, "pf_driver", PF, Fail, "bound to virtio-pci, not to vfio-pci");
    becomes(&fixture, "vfs", PF, Fail, "0 of 8");
    let report = probe(&fixture, TARGET());
    assert_eq!(find(&report, "pf_driver", PF).fix.as_deref(), Some("heirloom pf prepare 0000:41:00.0 --vfs N"));
}

#[test]
fn iommu() {
    let fixture = Fixture::prepared();
    becomes(&fixture, "iommu", "", Pass, "IOMMU groups");
    fixture.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n");
    becomes(&fixture, "iommu", "", Warn, "without an IOMMU");
    std::fs::remove_dir_all(fixture.path("sys/kernel/iommu_groups")).unwrap();
    becomes(&fixture, "iommu", "", Fail, "though intel_iommu=on");
    fixture.write("proc/cmdline", "quiet\n");
    becomes(&fixture, "iommu", "", Fail, "(Intel)");
    fixture.write("proc/cmdline", "quiet iommu=off\n");
    becomes(&fixture, "iommu", "", Fail, "switched off on the kernel command line");
    fixture.write("proc/cpuinfo", "vendor_id : AuthenticAMD\n");
    fixture.write("proc/cmdline", "quiet\n");
    let report = probe(&fixture, TARGET());
    assert!(find(&report, "iommu", "").fix.as_ref().is_some_and(|fix| fix.contains("AMD-Vi")));
}

#[test]
fn vfio_of_the_host() {
    let fixture = Fixture::prepared();
    becomes(&fixture, "vfio_interface", "", Pass, "character device");
    std::fs::remove_file(fixture.path("dev/iommu")).unwrap();
    becomes(&fixture, "vfio_interface", "", Pass, "by group");
    std::fs::remove_file(fixture.path("dev/vfio/vfio")).unwrap();
    becomes(&fixture, "vfio_interface", "", Unknown, "neither");
    std::fs::remove_dir_all(fixture.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    becomes(&fixture, "vfio_pci", "", Fail, "no driver vfio-pci");
}

#[test]
fn locked_memory() {
    let request = ProbeRequest { memory: 4 << 30, ..ProbeRequest::new(TARGET()) };
    let check = |limit, capable| {
        let mut checks = Checks::default();
        host::memlock(&mut checks, &request, limit, capable);
        checks.report().checks.remove(0)
    };
    assert_eq!(check(None, false).result, Pass);
    assert_eq!(check(Some(65536), true).result, Pass);
    assert_eq!(check(Some(u64::MAX), false).result, Pass);
    assert_eq!(check(Some(5 << 30), false).result, Pass);
    for small in [65536, 4 << 30] {
        let failed = check(Some(small), false);
        assert_eq!(failed.result, Fail);
        assert!(failed.fix.unwrap().starts_with("ulimit -l 4195328;"));
    }
}

#[test]
fn huge_pages() {
    let fixture = Fixture::prepared();
    becomes(&fixture, "hugepages", "", Pass, "transparent huge pages are on");
    fixture.write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    becomes(&fixture, "hugepages", "", Warn, "0 pages of 2 MiB are free, 256 would do");
    fixture.write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "256\n");
    becomes(&fixture, "hugepages", "", Pass, "256 pages");
}

#[test]
fn pfs_that_cannot_be_used() {
    let fixture = Fixture::prepared();
    fixture.set(PF, "vendor", "0x15b3");
    becomes(&fixture, "pf", PF, Fail, "no virtio function (15b3:1041)");
    let report = probe(&fixture, Target::All);
    assert_eq!(find(&report, "pf", "").result, Fail, "there is no other");
    let report = probe(&fixture, Target::Pf(bdf(CARD)));
    assert_eq!(find(&report, "pf", CARD).detail, "it cannot have VFs (no SR-IOV)");
    let report = probe(&fixture, Target::Pf(bdf("0000:99:00.0")));
    assert_eq!(find(&report, "pf", "0000:99:00.0").result, Fail);
    for (named, says) in [(PF, "not a virtual function"), ("0000:99:00.0", "there is no PCI function")] {
        let report = probe(&fixture, Target::Vf(bdf(named)));
        assert!(find(&report, "vf", named).detail.contains(says), "{report:#?}");
        assert!(!report.usable);
    }
}

#[test]
fn groups_and_nodes() {
    let fixture = Fixture::prepared();
    becomes(&fixture, "iommu_group", PF, Pass, "12, alone in it");
    fixture.group(CARD, 13);
    becomes(&fixture, "iommu_group", VF1, Fail, "0000:03:00.0 by e1000");
    fixture.bind(CARD, "vfio-pci");
    becomes(&fixture, "iommu_group", VF1, Pass, "13, with 1 that the host");
    std::fs::remove_file(fixture.path("dev/vfio/13")).unwrap();
    becomes(&fixture, "vfio_node", VF1, Fail, "neither");
    fixture.write("sys/kernel/iommu_groups/14/name", "vfio-noiommu\n");
    becomes(&fixture, "iommu_group", VF2, Fail, "mode without an IOMMU");
    fixture.no_group(VF2);
    becomes(&fixture, "iommu_group", VF2, Fail, "no IOMMU group");
}

#[test]
fn enable_sriov() {
    let fixture = Fixture::prepared();
    becomes(&fixture, "enable_sriov", PF, Pass, "may be enabled");
    fixture.write("sys/module/vfio_pci/parameters/enable_sriov", "N\n");
    becomes(&fixture, "enable_sriov", PF, Warn, "these were enabled before");
    let fresh = Fixture::fresh();
    fresh.bind(PF, "vfio-pci");
    becomes(&fresh, "enable_sriov", PF, Fail, "does not let VFs be enabled");
    std::fs::remove_file(fresh.path("sys/module/vfio_pci/parameters/enable_sriov")).unwrap();
    becomes(&fresh, "enable_sriov", PF, Unknown, "cannot read");
}

#[test]
fn functions_in_use() {
    let fixture = Fixture::prepared();
    fixture.process(45, "heirloom", &fixture.path("dev/vfio/12"));
    becomes(&fixture, "in_use", PF, Fail, "process 45 (heirloom)");
    becomes(&fixture, "in_use", VF1, Pass, "nobody");
    fixture.process(46, "qemu", &fixture.path("dev/vfio/13"));
    becomes(&fixture, "in_use", VF1, Fail, "process 46 (qemu)");
}

#[test]
fn vfs_that_cannot_be_used() {
    let fixture = Fixture::prepared();
    let bar0 = "0x00000000fe000000 0x00000000fe000fff 0x0000000000040200\n";
    fixture.set(VF1, "resource", bar0);
    becomes(&fixture, "vf_bar0", VF1, Fail, "BAR 0");
    fixture.bind(VF1, "virtio-pci");
    becomes(&fixture, "vf_driver", VF1, Fail, "bound to virtio-pci");
    fixture.set(VF1, "device", "0x1053");
    becomes(&fixture, "vf", VF1, Fail, "1af4:1053 has no legacy interface");
    for (vectors, result) in [(None, Fail), (Some(1), Warn), (Some(2), Pass), (Some(2048), Pass)] {
        fixture.set(VF2, "config", config(vectors));
        becomes(&fixture, "msix_vectors", VF2, result, "");
    }
    fixture.set(VF2, "config", &config(Some(4))[..64]);
    becomes(&fixture, "msix_vectors", VF2, Unknown, "permission denied");
    let mut looped = config(None);
    looped[0x61] = 0x40;
    fixture.set(VF2, "config", looped);
    becomes(&fixture, "msix_vectors", VF2, Fail, "none");
}

#[test]
fn the_kernels_way() {
    let fixture = Fixture::prepared();
    fixture.bind(PF, "virtio-pci");
    becomes(&fixture, "pf_driver", PF, Fail, "virtio-pci");
    [VF1, VF2].into_iter().for_each(|vf| fixture.bind(vf, "virtio_vfio_pci"));
    becomes(&fixture, "pf_driver", PF, Pass, "admin=kernel");
    becomes(&fixture, "admin_queue", PF, Unknown, "no virtio features");
    fixture.set(PF, "virtio3/features", "0".repeat(64));
    becomes(&fixture, "admin_queue", PF, Fail, "SR_IOV and ADMIN_VQ");
    fixture.set(PF, "virtio3/features", "1".repeat(64));
    becomes(&fixture, "admin_queue", PF, Pass, "ADMIN_VQ");
    fixture.set(VF1, "device", "0x1042");
    becomes(&fixture, "vf", VF1, Fail, "network cards only");
}

#[test]
fn kvm_in_each_state() {
    let judge = |answer| {
        let mut checks = Checks::default();
        kvm::judge(&mut checks, &answer);
        checks.report()
    };
    let errors = [
        KvmError::Missing,
        KvmError::Permission,
        KvmError::Open(std::io::ErrorKind::Other.into()),
        KvmError::ApiVersion(11),
        KvmError::MissingCapability("KVM_CAP_IRQFD"),
        KvmError::Call { what: "create the virtual machine", source: std::io::ErrorKind::ResourceBusy.into() },
    ];
    for answer in errors.map(|error| Some(Err(error))).into_iter().chain([None]) {
        let report = judge(answer);
        assert!(!report.usable && report.checks[0].fix.is_some(), "{report:?}");
    }
    let exit = std::time::Duration::from_micros(8);
    let slow = judge(Some(Ok(Speed { instructions: 1e6, exit })));
    assert_eq!((slow.usable, slow.checks[1].result), (true, Warn));
    let fast = judge(Some(Ok(Speed { instructions: 3e9, exit })));
    assert_eq!(fast.checks.iter().map(|check| check.result).collect::<Vec<_>>(), [Pass, Pass]);
    assert_eq!(fast.checks[1].detail, "3000.0 M instructions/s, 8.0 us for an exit");
}

/// Whatever this machine has, it is told within the limits of time.
#[test]
fn kvm_of_this_machine() {
    let mut checks = Checks::default();
    kvm::check(&mut checks);
    let report = checks.report();
    match Vm::new() {
        Ok(_) => assert_eq!(report.checks.len(), 2, "{report:?}"),
        Err(_) => assert!(!report.usable, "{report:?}"),
    }
}

enum Spec {
    Card,
    Disk,
}

fn ask_soft(quirks: Quirks) -> ProbeReport {
    ask_soft_of(Spec::Card, quirks)
}

fn ask_soft_of(spec: Spec, quirks: Quirks) -> ProbeReport {
    let vf = match spec {
        Spec::Card => VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] },
        Spec::Disk => {
            let file = tempfile::tempfile().unwrap();
            file.set_len(1 << 20).unwrap();
            VfSpec::Blk { size: None, file, read_only: true, id: "disk".to_owned() }
        }
    };
    let soft = SoftPf::new("soft", vec![vf]).unwrap();
    soft.set_quirks(quirks);
    let sizes = (0..6).map(|bar| soft.vf(0).unwrap().region(bar).map(|region| region.size)).collect();
    let number = std::num::NonZeroU16::MIN;
    let is_disk = matches!(spec, Spec::Disk);
    let member = Member {
        name: "vf".to_owned(),
        number,
        resources: Resources { sizes, vectors: Some(2) },
        is_disk,
        is_idle: true,
    };
    let mut checks = Checks::default();
    checks.about("pf");
    let open = |_: &Member| Ok(soft.vf(0).unwrap());
    deep::ask(&mut checks, soft.pf(), Some(1), &[member], &open, std::time::Duration::from_secs(2));
    checks.report()
}

#[test]
fn a_disk_is_asked_whether_it_serves_early_kicks() {
    for no_notify_info in [false, true] {
        let early = |loses_early_kicks| {
            let quirks = Quirks {
                vf: VfQuirks { loses_early_kicks, ..VfQuirks::default() },
                notify: NotifyQuirk::unsupported(no_notify_info),
                ..Quirks::default()
            };
            find(&ask_soft_of(Spec::Disk, quirks), "early_kicks", "vf").clone()
        };
        let serves = early(false);
        assert_eq!((serves.result, serves.detail.contains("before Linux 3.19 work")), (Pass, true), "{serves:?}");
        let loses = early(true);
        assert_eq!((loses.result, loses.detail.contains("before Linux 3.19 hang")), (Warn, true), "{loses:?}");
        assert!(loses.fix.unwrap().contains("early="));
    }
    let card = ask_soft(Quirks::default());
    assert!(card.checks.iter().all(|check| check.name != "early_kicks"), "{card:?}");
}

#[test]
fn deep_looks_at_all() {
    let report = ask_soft(Quirks::default());
    assert!(report.usable, "{report:#?}");
    assert_eq!(find(&report, "notify_info", "vf").result, Pass);
    let sizes = find(&report, "queue_sizes", "vf");
    assert!(sizes.detail.contains("some share"), "two vectors for three queues: {sizes:?}");
}

#[test]
fn notify_addresses_of_each_kind() {
    let notify = |quirks| find(&ask_soft(quirks), "notify_info", "vf").clone();
    let none = notify(Quirks { notify: NotifyQuirk::Unsupported, ..Quirks::default() });
    assert_eq!((none.result, none.detail.contains("not offered")), (Warn, true), "{none:?}");
    let owner = notify(Quirks { notify: NotifyQuirk::Owner, ..Quirks::default() });
    assert_eq!((owner.result, owner.detail.contains("through the PF's BAR")), (Pass, true), "{owner:?}");
    let odd = NotifyEntry { flags: NotifyEntry::MEMBER, bar: 2, offset: 0x3001 };
    let outside = NotifyEntry { flags: NotifyEntry::MEMBER, bar: 2, offset: u64::MAX };
    let reserved = NotifyEntry { flags: 9, bar: 2, offset: 0 };
    let bad = notify(Quirks { notify: NotifyQuirk::Entries(vec![odd, outside, reserved]), ..Quirks::default() });
    assert_eq!(bad.result, Warn);
    assert!(bad.detail.contains("0 of 3 can be used") && bad.detail.contains("flags 0x9 BAR 2"), "{bad:?}");
}

#[test]
fn pfs_that_refuse() {
    let report = ask_soft(Quirks {
        reply: ReplyQuirks { answer: Some((22, 1)), ..ReplyQuirks::default() },
        ..Quirks::default()
    });
    assert_eq!(find(&report, "notify_info", "vf").result, Warn);
    assert_eq!(find(&report, "queue_sizes", "vf").result, Fail);
    let report = ask_soft(Quirks { reply: ReplyQuirks { empty: true, ..ReplyQuirks::default() }, ..Quirks::default() });
    assert_eq!(find(&report, "admin_commands", "pf").result, Fail, "{report:#?}");
}

/// All of it has to end, and to be a result.
#[test]
fn pf_that_never_answers() {
    let report = ask_soft(Quirks { reply: ReplyQuirks { hang: true, ..ReplyQuirks::default() }, ..Quirks::default() });
    assert_eq!(find(&report, "admin_commands", "pf").result, Fail, "{report:#?}");
}

#[test]
fn queue_sizes_against_firmware() {
    let judge = |sizes: &[u32]| {
        let mut checks = Checks::default();
        deep::judge_sizes(&mut checks, sizes, Some(8));
        checks.report().checks.remove(0)
    };
    for (sizes, result, says) in [
        (&[][..], Fail, "no queue 0"),
        (&[128, 64], Pass, "2 queues of 128, 64"),
        (&[129], Fail, "not a power of two"),
        (&[256, 64], Pass, "take up to 256, SeaBIOS before 1.13 128"),
        (&[512], Warn, "more than SeaBIOS and iPXE take (256)"),
    ] {
        let check = judge(sizes);
        assert!(check.result == result && check.detail.contains(says), "{check:?}");
    }
}

#[test]
fn text_and_json() {
    let report = probe(&Fixture::fresh(), TARGET());
    let text = report.to_string();
    assert!(
        text.contains("\n0000:41:00.0\npass    pf              virtio network card (1af4:1041) with SR-IOV\n"),
        "{text}"
    );
    assert!(text.contains("-> heirloom pf prepare 0000:41:00.0 --vfs N\n"), "{text}");
    assert!(text.ends_with(&format!("of {} checks\n", report.checks.len())), "{text}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<ProbeReport>(&json).unwrap(), report);
    assert!(json.contains(r#""name":"pf_driver","function":"0000:41:00.0","result":"fail""#), "{json}");
}
