// SPDX-License-Identifier: Apache-2.0
use super::schema::{Field, Shape};
use super::*;
use crate::NewDevice;

/// What the list means, as the JSON that a client of the API would send.
fn same(list: &str, document: &str) {
    let device = LEGACY_VIRTIO.parse(list).unwrap_or_else(|error| panic!("{list}: {error}"));
    assert_eq!(device, serde_json::from_str(document).unwrap(), "{list}");
}

#[test]
fn a_list_means_what_a_document_means() {
    same("soft=blk,file=a,,b", r#"{"soft": {"blk": {"file": "a,b"}}}"#);
    same("file=a,soft=blk,readonly", r#"{"soft": {"blk": {"file": "a", "readonly": true}}}"#);
    same("soft=net,loopback,id=n", r#"{"id": "n", "soft": {"net": {"backend": "loopback"}}}"#);
    same("soft=net,tap=t,loopback=off", r#"{"soft": {"net": {"backend": {"tap": "t"}}}}"#);
    same(
        "vf=41:00.3,pf=41:00.0,admin=pf,shadow=off,deadline_ms=7",
        r#"{"vf": {"address": "41:00.3", "pf": "41:00.0", "admin": "pf"}, "shadow": false, "deadline_ms": 7}"#,
    );
    same(
        "vfio-user=/v,pf-socket=/p,member=65535,irq=intx,notify=exit",
        r#"{"vfio_user": {"socket": "/v", "pf_socket": "/p", "member": 65535}, "irq": "intx", "notify": "exit"}"#,
    );
    let memory = MEMORY.parse("4G,hugepages,hugepage_size=1G").unwrap();
    assert_eq!((memory.size, memory.hugepages, memory.hugepage_size), (4 << 30, true, Some(1 << 30)));
    assert!(matches!(SOFT_DEVICE.parse("blk,file=a"), Ok(SoftDevice::Blk { readonly: false, .. })));
}

#[test]
fn what_is_wrong_is_told_with_the_key_and_what_would_be_right() {
    let wrong = |text: &str, wanted: &str| {
        let error = LEGACY_VIRTIO.parse(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    };
    for (text, wanted) in [
        ("soft=net,fd=3", "soft=net needs tap=NAME or loopback"),
        ("soft=net,loopback,mac=1", "mac=1: '1' is not a MAC address"),
        ("soft=net,loopback,id=a b", "id=a b: an id has 1 to 32 letters"),
        ("soft=net,loopback,deadline_ms=60001", "deadline_ms=60001: must be 1 to 60000"),
        ("soft=net,loopback,deadline_ms=-1", "deadline_ms=-1: must be 1 to 60000"),
        ("vfio-user=a,pf-socket=b,member=65536", "member=65536: must be 1 to 65535"),
        ("vfio-user=a,pf_socket=b,member=1", "vfio-user= needs pf-socket=PATH: The socket of its PF"),
        ("soft=blk,file=a,soft=net", "'soft' is given twice"),
        ("soft=blk,file=a,", "empty entry"),
        (",", "empty entry"),
        ("=", "empty entry"),
        ("soft", "'soft' needs a value"),
        (
            "vf=1,vfio-user=2",
            "soft=blk,file=PATH or soft=net,loopback or vf=ADDRESS or vfio-user=PATH,pf-socket=PATH,member=N",
        ),
    ] {
        wrong(text, wanted);
    }
    for (text, wanted) in [
        ("", "empty entry"),
        ("hugepages=on", "must begin with SIZE"),
        ("7M", "7M: memory size 7M: must be a multiple of 1M, at least 8M and at most 65535G"),
        ("64M,size=1G", "unknown key 'size'; the keys here are hugepage_size, hugepages, prefault, shared"),
        ("64M,hugepage_size=x", "hugepage_size=x: 'x' is not a size"),
    ] {
        let error = MEMORY.parse(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let error = SOFT_DEVICE.parse("disk,file=a").unwrap_err();
    assert!(error.contains("must begin with blk or net: write blk,file=PATH or net,loopback"), "{error}");
}

/// The fields of documents that a list can set.
fn fields(shape: &Shape) -> Vec<&str> {
    match shape {
        Shape::Fields(fields) => fields.iter().map(|Field { name, .. }| name.as_str()).collect(),
        Shape::Object { main, rest, .. } => {
            [main.as_str()].into_iter().chain(rest.iter().map(|field| field.name.as_str())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_of_a_type_is_a_key() {
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(fields(&LEGACY_VIRTIO.shape)), sorted(LegacyVirtioConfig::FIELDS.to_vec()));
    assert_eq!(sorted(fields(&DEVICE.shape)), sorted(DeviceConfig::FIELDS.to_vec()));
    assert_eq!(fields(&MEMORY.shape), ["size", "hugepage_size", "hugepages", "prefault", "shared"]);
}

#[test]
fn help_has_each_key_with_its_limits_and_default() {
    let help = LEGACY_VIRTIO.help();
    for line in [
        "  soft=blk           A virtual function of the built-in software PF. A disk\n",
        "    readonly=on|off    The guest may not write: it is told so, and writes fail (default off)\n",
        "    loopback           ",
        "  irq=auto|intx|msix\n                     What interrupts the guest is offered (default auto)\n",
    ] {
        assert!(help.contains(line), "{line:?} is not in\n{help}");
    }
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for facts in ["in milliseconds (default 100, 1-60000)", "needs (required, 1-65535)"] {
        assert!(words.contains(facts), "{facts:?} is not in\n{help}");
    }
    assert!(!help.contains("fd=") && help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let table = MEMORY.markdown();
    assert!(table.contains("| `prefault` | `on`, `off`, or the key alone | `off` | "), "{table}");
}

#[test]
fn documents_keep_their_form() {
    let text = r#"{"id":"a","vf":{"address":"41:00.3","admin":"auto","mode":"auto"},"irq":"msix","shadow":false}"#;
    let device: LegacyVirtioConfig = serde_json::from_str(text).unwrap();
    let written = serde_json::to_value(&device).unwrap();
    for (name, value) in serde_json::from_str::<Value>(text).unwrap().as_object().unwrap() {
        assert_eq!(&written[name], value, "{name}");
    }
    assert!(written.get("origin").is_none() && written.get("soft").is_none(), "{written}");
    assert_eq!(serde_json::from_value::<LegacyVirtioConfig>(written).unwrap(), device);
    let text = r#"{"id":"a","vfio_user":"/s"}"#;
    let device: DeviceConfig = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&NewDevice::from(device)).unwrap(), text);
    for (text, wanted) in [
        ("{}", "give exactly one of soft, vf and vfio_user"),
        (r#"{"vf": {"address": "1"}, "soft": {"net": {"backend": "loopback"}}}"#, "exactly one of soft"),
        (r#"{"vf": {"address": "1"}, "colour": 1}"#, "colour"),
    ] {
        let error = serde_json::from_str::<LegacyVirtioConfig>(text).unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
}
