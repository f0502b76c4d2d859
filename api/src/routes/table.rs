// SPDX-License-Identifier: Apache-2.0
//! The table itself.

use super::handlers as h;
use super::{Body, Content, Example, Input, Lane, Method, Parameter, Route, Success};
use crate::Code;
use crate::state::{StateSet, VmState};
use crate::types::{EventLine, LegacyDevice, PciDeviceInfo, ProbeReport, VmCounters, VmInfo, VmRemoveDevice, VmmPing};

const NOTHING: Input = Input { body: None, parameters: &[], descriptors: false };
const DONE: &[Success] = &[Success { status: 204, text: "Done.", content: Content::Empty }];
const RUNNING: StateSet = StateSet::of(&[VmState::Running]);

const fn body(body: Body) -> Input {
    Input { body: Some(body), ..NOTHING }
}

const fn parameter(list: &'static [Parameter]) -> Input {
    Input { parameters: list, ..NOTHING }
}

const fn ok(text: &'static str, content: Content) -> Success {
    Success { status: 200, text, content }
}

/// Bodies of `vm.create`.
pub const CONFIG_EXAMPLES: &[Example] = &[
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

const DEVICE_EXAMPLES: &[Example] = &[
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

const INFO_EXAMPLE: Example = (
    "A machine that runs",
    r#"{"config": {"payload": {"kernel": "/boot/vmlinuz"}, "cpus": {"boot_vcpus": 1, "profile": "host"}, "memory": {"size": 536870912},
  "serial": {"mode": "Off"}, "legacy_virtio": [{"id": "net0", "soft": {"net": {"backend": "loopback"}}, "irq": "auto", "notify": "auto", "early": "auto", "shadow": true}]},
 "state": "Running", "memory_actual_size": 536870912,
 "device_tree": {"net0": {"id": "net0", "kind": "legacy_virtio", "pci_bdf": "0000:00:01.0", "slot": 1, "function": "soft/vf0",
  "children": [], "resources": []}}, "ended_by": null}"#,
);

const LEGACY_EXAMPLE: Example = (
    "A disk",
    r#"[{"id": "disk", "pci_bdf": "0000:00:01.0", "mode": "admin_commands", "device": "block", "function": "soft/vf0", "slot": 1, "interrupts": "msix", "status": 7, "queues": [0],
  "notify": "member BAR 2 + 0x3000", "early": "auto", "kicks": {"ioeventfd": 20, "store": 0, "admin": 0, "early": 0, "early_starts": 0, "replayed": 0, "dropped": 0},
  "intx": {"queue": 0, "config": 0, "spurious": 0}, "accesses": {"reads": 15, "writes": 9, "isr_reads": 0, "shadow_reads": 10, "commands": 16},
  "resets": 2, "function_resets": 0, "errors": {"refused": 0, "timeout": 0}, "faulted": null, "times_faulted": 0, "last_fault": null,
  "registers": {"device_features": 4, "device_feature_names": ["SEG_MAX"], "driver_features": 0, "driver_feature_names": [],
   "queue_select": 0, "device_status": 7, "device_status_names": ["ACKNOWLEDGE", "DRIVER", "DRIVER_OK"], "config_msix_vector": 0,
   "msix_enabled": true, "queues": [{"index": 0, "address": 16384, "size": 128}]},
  "admin": {"member": 1, "commands": [{"command": "LEGACY_COMMON_CFG_READ", "count": 5,
   "latency_ns": {"p50": 900, "p90": 1200, "p99": 1200, "max": 1200}, "errors": {"refused": 0}}],
   "registers": [{"register": "device_status", "count": 3}]}, "rings_broken": 0}]"#,
);

const PROBE_EXAMPLE: Example = (
    "A host without KVM",
    r#"{"usable": false, "checks": [{"name": "kvm", "result": "fail", "detail": "/dev/kvm does not exist", "fix": "modprobe kvm_intel or kvm_amd"}, {"name": "vf_bar0", "function": "0000:41:00.3", "result": "pass", "detail": "absent", "fix": null}]}"#,
);

const TRACE_EXAMPLE: Example = (
    "The driver resets its device",
    r#"{"event": "access", "t": 17800909, "vcpu": 0, "device": "net0", "dir": "write", "offset": 18, "width": 1, "register": "device_status", "value": 0,
 "sent": "admin", "latency_ns": 199127, "command_count": 1, "commands": [{"op": "legacy_common_cfg_write", "offset": 18, "width": 1}]}"#,
);

const EVENT_EXAMPLE: Example = (
    "The guest was started",
    r#"{"seq": 1, "timestamp": "2026-11-22T16:00:00.000Z", "source": "vm", "event": "booted", "properties": {}}"#,
);

/// All routes.
pub static ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/api/v1/vmm.ping",
        operation: "pingVMM",
        summary: "Whether the monitor answers, and which it is",
        text: "",
        states: StateSet::ANY,
        lane: Lane::Inline,
        input: NOTHING,
        successes: &[ok(
            "It does.",
            Content::Json(Body::of::<VmmPing>(&[(
                "",
                r#"{"version": "0.1.0", "build_version": "v0.1.0", "pid": 4711, "features": ["kvm"]}"#,
            )])),
        )],
        faults: &[],
        handler: h::ping,
    },
    Route {
        method: Method::Put,
        path: super::VMM_SHUTDOWN,
        operation: "shutdownVMM",
        summary: "Remove the virtual machine and end the monitor",
        text: "The reply goes out before the process ends.",
        states: StateSet::ANY,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[],
        handler: h::vmm_shutdown,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.create",
        operation: "createVM",
        summary: "Make a virtual machine, without starting it",
        text: "Files are looked at now and opened again at each boot. File descriptors for network cards may come \
               with the request (SCM_RIGHTS); `{\"fd\": N}` is the N-th of them, counted from 0.",
        states: StateSet::of(&[VmState::NotCreated]),
        lane: Lane::Change,
        input: Input { body: Some(Body::config(CONFIG_EXAMPLES)), parameters: &[], descriptors: true },
        successes: DONE,
        faults: &[
            Code::UnsupportedField,
            Code::InvalidConfig,
            Code::FileUnusable,
            Code::DuplicateId,
            Code::SetupFailed,
        ],
        handler: h::create,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.boot",
        operation: "bootVM",
        summary: "Start the guest",
        text: "",
        states: StateSet::OFF,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[Code::InvalidConfig, Code::FileUnusable, Code::SetupFailed, Code::PfUnavailable],
        handler: h::boot,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.shutdown",
        operation: "shutdownVM",
        summary: "End the guest, as a power cut does",
        text: "The configuration stays and can be booted again. To ask the guest itself, use `vm.power-button`.",
        states: StateSet::ON,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[],
        handler: h::shutdown,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.reboot",
        operation: "rebootVM",
        summary: "End the guest and start it again",
        text: "",
        states: RUNNING,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[Code::InvalidConfig, Code::FileUnusable, Code::SetupFailed, Code::PfUnavailable],
        handler: h::reboot,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.power-button",
        operation: "power-buttonVM",
        summary: "Press the guest's power button",
        text: "What follows is up to the guest; one without ACPI does not notice.",
        states: RUNNING,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[],
        handler: h::power_button,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.pause",
        operation: "pauseVM",
        summary: "Stop the guest's processors",
        text: "",
        states: RUNNING,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[],
        handler: h::pause,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.resume",
        operation: "resumeVM",
        summary: "Let the guest's processors go on",
        text: "",
        states: StateSet::of(&[VmState::Paused]),
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[],
        handler: h::resume,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.delete",
        operation: "deleteVM",
        summary: "Remove the virtual machine",
        text: "One that runs is shut down before. Without a virtual machine there is nothing to do, which is a success.",
        states: StateSet::ANY,
        lane: Lane::Change,
        input: NOTHING,
        successes: DONE,
        faults: &[],
        handler: h::delete,
    },
    Route {
        method: Method::Get,
        path: "/api/v1/vm.info",
        operation: "infoVM",
        summary: "Configuration, state and devices",
        text: "",
        states: StateSet::EXISTS,
        lane: Lane::Look,
        input: NOTHING,
        successes: &[ok("What the machine is.", Content::Json(Body::of::<VmInfo>(&[INFO_EXAMPLE])))],
        faults: &[],
        handler: h::info,
    },
    Route {
        method: Method::Get,
        path: "/api/v1/vm.counters",
        operation: "countersVM",
        summary: "What devices and processors did, in numbers",
        text: "",
        states: StateSet::ON,
        lane: Lane::Look,
        input: NOTHING,
        successes: &[ok(
            "Counters since the last boot.",
            Content::Json(Body::of::<VmCounters>(&[(
                "",
                r#"{"net0": {"reads": 49, "writes": 31}, "vcpu0": {"port_in": 75, "port_out": 163}}"#,
            )])),
        )],
        faults: &[],
        handler: h::counters,
    },
    Route {
        method: Method::Get,
        path: "/api/v1/vm.legacy",
        operation: "legacyVM",
        summary: "The legacy virtio functions: registers, notifications, administration commands, faults",
        text: "",
        states: StateSet::ON,
        lane: Lane::Look,
        input: parameter(&[Parameter { name: "id", text: "This function alone.", example: "net0" }]),
        successes: &[ok("One entry for each.", Content::Json(Body::of::<Vec<LegacyDevice>>(&[LEGACY_EXAMPLE])))],
        faults: &[Code::DeviceNotFound],
        handler: h::legacy,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.add-device",
        operation: "addDeviceVM",
        summary: "Add a legacy virtio function, or a function passed through",
        text: "To a machine that does not run; the guest finds it at the next boot. File descriptors as with `vm.create`.",
        states: StateSet::OFF,
        lane: Lane::Change,
        input: Input { body: Some(Body::device(DEVICE_EXAMPLES)), parameters: &[], descriptors: true },
        successes: &[
            ok(
                "The guest has it now. Not answered so far.",
                Content::Json(Body::of::<PciDeviceInfo>(&[("", r#"{"id": "net0", "bdf": "0000:00:01.0"}"#)])),
            ),
            Success { status: 204, text: "The guest finds it at its next boot.", content: Content::Empty },
        ],
        faults: &[Code::InvalidConfig, Code::FileUnusable, Code::DuplicateId],
        handler: h::add_device,
    },
    Route {
        method: Method::Put,
        path: "/api/v1/vm.remove-device",
        operation: "removeDeviceVM",
        summary: "Take a device away",
        text: "From a machine that does not run.",
        states: StateSet::OFF,
        lane: Lane::Change,
        input: body(Body::of::<VmRemoveDevice>(&[("", r#"{"id": "net0"}"#)])),
        successes: DONE,
        faults: &[Code::DeviceNotFound],
        handler: h::remove_device,
    },
    Route {
        method: Method::Get,
        path: "/api/v1/vm.trace",
        operation: "traceVM",
        summary: "The guest's accesses to legacy registers, as they happen",
        text: "JSON objects, one a line, until the client leaves or the guest ends. A client that is too slow misses lines, \
               and a line tells how many.",
        states: StateSet::ON,
        lane: Lane::Look,
        input: parameter(&[Parameter { name: "id", text: "This function alone.", example: "net0" }]),
        successes: &[ok("Lines without an end.", Content::Lines(Body::of::<serde_json::Value>(&[TRACE_EXAMPLE])))],
        faults: &[Code::DeviceNotFound, Code::SetupFailed],
        handler: h::trace,
    },
    Route {
        method: Method::Get,
        path: "/api/v1/vmm.events",
        operation: "eventsVMM",
        summary: "What happens, as it happens",
        text: "JSON objects, one a line, until the client leaves or the monitor ends. A client that is too slow misses \
               lines, and a line tells how many.",
        states: StateSet::ANY,
        lane: Lane::Look,
        input: NOTHING,
        successes: &[ok("Lines without an end.", Content::Lines(Body::of::<EventLine>(&[EVENT_EXAMPLE])))],
        faults: &[],
        handler: h::events,
    },
    Route {
        method: Method::Get,
        path: "/api/v1/host.probe",
        operation: "probeHost",
        summary: "Whether this host, or a PCI function of it, can be used",
        text: "Looks, and changes nothing. At most one of the parameters.",
        states: StateSet::ANY,
        lane: Lane::Look,
        input: parameter(&[
            Parameter {
                name: "path",
                text: "This PCI function, a VF or not: its address, or its path below /sys.",
                example: "/sys/bus/pci/devices/0000:41:00.3",
            },
            Parameter { name: "vf", text: "The VF of this address, and its PF.", example: "0000:41:00.3" },
            Parameter { name: "pf", text: "The PF of this address, and its VFs.", example: "0000:41:00.0" },
        ]),
        successes: &[ok("One entry for each check.", Content::Json(Body::of::<ProbeReport>(&[PROBE_EXAMPLE])))],
        faults: &[Code::DeviceNotFound],
        handler: h::probe,
    },
    Route {
        method: Method::Get,
        path: "/api/v1/openapi.json",
        operation: "openapi",
        summary: "This interface as an OpenAPI 3 document",
        text: "",
        states: StateSet::ANY,
        lane: Lane::Inline,
        input: NOTHING,
        successes: &[ok("The document.", Content::Document)],
        faults: &[],
        handler: h::document,
    },
    Route {
        method: Method::Get,
        path: "/metrics",
        operation: "metrics",
        summary: "Everything that is measured, for Prometheus",
        text: "",
        states: StateSet::ANY,
        lane: Lane::Look,
        input: NOTHING,
        successes: &[ok("Text format 0.0.4.", Content::Text(h::PROMETHEUS))],
        faults: &[],
        handler: h::metrics,
    },
];
