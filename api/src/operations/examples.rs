// SPDX-License-Identifier: Apache-2.0
//! Examples of bodies, for the OpenAPI document and docs/api.md.

use crate::routes::Example;

/// Bodies of `vm.create`.
pub(crate) const CONFIGS: &[Example] = &[
    ("A kernel, nothing else", r#"{"payload": {"kernel": "/boot/vmlinuz"}}"#),
    (
        "A disk and a network card",
        r#"{"payload": {"kernel": "/srv/vm/vmlinuz", "initramfs": "/srv/vm/initrd.img", "cmdline": "console=ttyS0 root=/dev/vda"},
 "cpus": {"boot_vcpus": 2, "profile": "host"}, "memory": {"size": 268435456}, "serial": {"mode": "File", "file": "/run/vm/console"},
 "legacy_virtio": [
  {"id": "root", "soft": {"blk": {"file": "/srv/vm/disk.img"}}, "irq": "intx"},
  {"id": "lan", "soft": {"net": {"backend": {"tap": "tap0"}, "mac": "52:54:00:12:34:56"}}, "notify": "exit", "deadline_ms": 250}]}"#,
    ),
    (
        "A tap that comes as a file descriptor with the request",
        r#"{"payload": {"kernel": "/boot/vmlinuz"}, "serial": {"mode": "Off"}, "legacy_virtio": [{"soft": {"net": {"backend": {"fd": 0}}}}]}"#,
    ),
    (
        "As a client of Cloud Hypervisor writes it",
        r#"{"cpus": {"boot_vcpus": 1, "max_vcpus": 1, "topology": null, "kvm_hyperv": false, "max_phys_bits": 46, "affinity": null, "features": {}, "nested": true},
 "memory": {"size": 536870912, "mergeable": false, "hotplug_method": "Acpi", "hotplug_size": null, "shared": true, "hugepages": false, "prefault": false, "thp": true, "zones": null},
 "payload": {"firmware": null, "kernel": "/boot/vmlinuz", "cmdline": "console=ttyS0", "initramfs": null},
 "disks": null, "net": null, "rng": {"src": "/dev/urandom", "iommu": false}, "balloon": null, "console": {"mode": "Off"},
 "serial": {"mode": "Null"}, "devices": null, "vsock": null, "iommu": false, "watchdog": false, "pvpanic": false}"#,
    ),
    (
        "A whole disk image, started by the firmware",
        r#"{"payload": {}, "legacy_virtio": [{"soft": {"blk": {"file": "/srv/vm/disk.img"}}}]}"#,
    ),
];

pub(super) const DEVICES: &[Example] = &[
    (
        "A disk that the guest cannot write",
        r#"{"id": "data", "soft": {"blk": {"file": "/srv/vm/data.img", "readonly": true}}}"#,
    ),
    ("A network card for tests", r#"{"soft": {"net": {"backend": "loopback"}}, "irq": "msix", "shadow": false}"#),
    ("A VF of the host with a legacy interface", r#"{"id": "lan", "vf": {"address": "0000:41:00.3"}}"#),
    (
        "A VF that another process serves",
        r#"{"vfio_user": {"socket": "/run/pf/vf0.sock", "pf_socket": "/run/pf/pf.sock", "member": 1}}"#,
    ),
    ("A function of the host as it is", r#"{"id": "gpu", "vfio": {"address": "0000:41:00.3"}}"#),
    (
        "The same, as a client of Cloud Hypervisor writes it",
        r#"{"path": "/sys/bus/pci/devices/0000:41:00.3", "iommu": false}"#,
    ),
    ("A function that another process serves, as it is", r#"{"vfio_user": "/run/device.sock"}"#),
];

pub(super) const INFO: Example = (
    "A machine that runs",
    r#"{"config": {"payload": {"kernel": "/boot/vmlinuz"}, "cpus": {"boot_vcpus": 1, "profile": "host"}, "memory": {"size": 536870912},
  "serial": {"mode": "Off"}, "legacy_virtio": [{"id": "net0", "soft": {"net": {"backend": "loopback"}}, "irq": "auto", "notify": "auto", "early": "auto", "shadow": true}]},
 "state": "Running", "memory_actual_size": 536870912,
 "device_tree": {"net0": {"id": "net0", "kind": "legacy_virtio", "pci_bdf": "0000:00:01.0", "slot": 1, "function": "soft/vf0",
  "children": [], "resources": []}}, "ended_by": null}"#,
);

pub(super) const LEGACY: Example = (
    "A disk",
    r#"[{"id": "disk", "pci_bdf": "0000:00:01.0", "mode": "admin_commands", "device": "block", "function": "soft/vf0", "slot": 1, "interrupts": "msix", "status": 7, "queues": [0],
  "notify": "member BAR 2 + 0x3000", "early": "auto", "kicks": {"ioeventfd": 20, "store": 0, "admin": 0, "early": 0, "early_starts": 0, "replayed": 0, "dropped": 0},
  "intx": {"queue": 0, "config": 0, "spurious": 0, "throttled": 0}, "interrupts_used": [{"interrupts": "msix", "intx": 0, "after_ms": 2110, "for_ms": 8004}],
  "interrupts_used_left_out": 0, "accesses": {"reads": 15, "writes": 9, "isr_reads": 0, "shadow_reads": 10, "commands": 16},
  "resets": 2, "function_resets": 0, "errors": {"refused": 0, "timeout": 0}, "faulted": null, "times_faulted": 0, "last_fault": null,
  "registers": {"device_features": 4, "device_feature_names": ["SEG_MAX"], "driver_features": 0, "driver_feature_names": [],
   "queue_select": 0, "device_status": 7, "device_status_names": ["ACKNOWLEDGE", "DRIVER", "DRIVER_OK"], "config_msix_vector": 0,
   "msix_enabled": true, "queues": [{"index": 0, "address": 16384, "size": 128}]},
  "admin": {"member": 1, "commands": [{"command": "LEGACY_COMMON_CFG_READ", "count": 5,
   "latency_ns": {"p50": 900, "p90": 1200, "p99": 1200, "max": 1200}, "errors": {"refused": 0}}],
   "registers": [{"register": "device_status", "count": 3}]}, "rings_broken": 0, "host_errors": 0, "last_host_error": null}]"#,
);

pub(super) const SCREEN: Example = (
    "A boot loader's prompt",
    r#"{"graphics": false, "columns": 80, "lines": ["ISOLINUX 6.04", "", "boot:"], "cursor": {"row": 2, "column": 6}}"#,
);

pub(super) const PROBE: Example = (
    "A host without KVM",
    r#"{"usable": false, "checks": [{"name": "kvm", "result": "fail", "detail": "/dev/kvm does not exist", "fix": "modprobe kvm_intel or kvm_amd"}, {"name": "vf_bar0", "function": "0000:41:00.3", "result": "pass", "detail": "absent", "fix": null}]}"#,
);

pub(super) const TRACE: Example = (
    "The driver resets its device",
    r#"{"event": "access", "t": 17800909, "vcpu": 0, "device": "net0", "dir": "write", "offset": 18, "width": 1, "register": "device_status", "value": 0,
 "sent": "admin", "latency_ns": 199127, "command_count": 1, "commands": [{"op": "legacy_common_cfg_write", "offset": 18, "width": 1}]}"#,
);

pub(super) const EVENT: Example = (
    "The guest was started",
    r#"{"seq": 1, "timestamp": "2026-11-22T16:00:00.000Z", "source": "vm", "event": "booted", "properties": {}}"#,
);
