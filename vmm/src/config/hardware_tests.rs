// SPDX-License-Identifier: Apache-2.0
use api::{InterfaceMode, MemoryConfig, PayloadConfig, VmConfig};

use crate::config::{Plan, VfPlan};

const VF: &str = r#"{"vf": {"address": "0000:41:00.3"}}"#;

/// The plan of a machine with these devices, which are JSON, or why there is none.
fn plan(legacy: &str, devices: &str) -> Result<Plan, String> {
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("kernel");
    std::fs::write(&kernel, "kernel").unwrap();
    let config = VmConfig {
        payload: PayloadConfig { kernel: Some(kernel), ..PayloadConfig::default() },
        cpus: Default::default(),
        memory: MemoryConfig::default(),
        serial: Default::default(),
        smbios: Default::default(),
        rtc: Default::default(),
        screen: Default::default(),
        legacy_virtio: serde_json::from_str(legacy).map_err(|error| error.to_string())?,
        devices: serde_json::from_str(devices).map_err(|error| error.to_string())?,
    };
    Plan::check(&config).map_err(|error| error.to_string())
}

#[test]
fn a_vf_of_the_host_is_taken_by_its_words() {
    let token = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
    let legacy = format!(r#"[{{"vf": {{"address": "41:00.3", "pf": "0000:41:00.0", "token": "{token}"}}}}]"#);
    let plan = plan(&legacy, "[]").unwrap();
    assert_eq!(plan.functions.legacy[0].id, "vf0");
    let VfPlan::Host(vf) = &plan.functions.legacy[0].vf else { panic!("no VF of the host") };
    assert_eq!((vf.bdf.to_string(), vf.pf.unwrap().to_string()), ("0000:41:00.3".into(), "0000:41:00.0".into()));
    assert_eq!(vf.token.unwrap().to_string(), token);
    assert!(!plan.memory.shared);
}

#[test]
fn a_served_function_makes_memory_shared() {
    let legacy = r#"[{"vfio_user": {"socket": "vf.sock", "pf_socket": "pf.sock", "member": 2}}]"#;
    assert!(plan(legacy, "[]").unwrap().memory.shared);
    let plan = plan("[]", r#"[{"vfio_user": "dev.sock"}, {"vfio": {"address": "0000:01:00.0"}, "id": "x"}]"#).unwrap();
    assert!(plan.memory.shared);
    let ids: Vec<_> = plan.functions.passthrough.iter().map(|device| device.id.as_str()).collect();
    assert_eq!(ids, ["dev0", "x"]);
}

/// A modern driver would wait for an INTx that no VF has.
#[test]
fn a_function_with_intx_alone_shows_the_legacy_interface_alone() {
    let shown = |words: &str| {
        let plan = plan(&format!(r#"[{{"vf": {{"address": "0000:41:00.3"}} {words}}}]"#), "[]").unwrap();
        plan.functions.legacy[0].config.interface
    };
    assert_eq!(shown(""), InterfaceMode::Auto);
    assert_eq!(shown(r#", "irq": "intx""#), InterfaceMode::Legacy);
    assert_eq!(shown(r#", "irq": "intx", "interface": "both""#), InterfaceMode::Both);
}

#[test]
fn contradictions_are_told_with_their_fix() {
    let served = r#"{"vfio_user": {"socket": "s", "pf_socket": "s", "member": 1}}"#;
    let kernel = r#"{"vf": {"address": "0000:41:00.3", "pf": "0000:41:00.0", "admin": "kernel"}}"#;
    let device = r#"[{"vfio": {"address": "0000:41:00.3"}}]"#;
    let pf = r#"{"vf": {"address": "0000:41:00.3", "pf": "0000:41:00.0"}}"#;
    let token = r#"{"vf": {"address": "0000:41:00.3", "token": "x"}}"#;
    for (legacy, devices, wanted) in [
        ("[{}]".to_owned(), "[]", "exactly one of soft, vf and vfio_user"),
        (
            format!("[{}]", VF.replacen('{', r#"{"soft": {"net": {"backend": "loopback"}}, "#, 1)),
            "[]",
            "exactly one of soft",
        ),
        (format!("[{VF}, {VF}]"), "[]", "two devices use 0000:41:00.3"),
        (format!("[{VF}]"), device, "two devices use 0000:41:00.3"),
        (format!("[{pf}]"), r#"[{"vfio": {"address": "0000:41:00.0"}}]"#, "0000:41:00.0 is the PF of another device"),
        (format!("[{kernel}]"), "[]", "leave pf= out"),
        (format!("[{served}]"), "[]", "the same socket"),
        (format!("[{token}]"), "[]", "token=x: not a UUID"),
        ("[]".to_owned(), "[{}]", "exactly one of vfio and vfio_user"),
        (format!("[{VF}]"), r#"[{"vfio_user": "s", "id": "vf0"}]"#, "two devices have the id 'vf0'"),
    ] {
        let error = plan(&legacy, devices).unwrap_err();
        assert!(error.contains(wanted), "{legacy} {devices}: {error}");
    }
}
