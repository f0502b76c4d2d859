// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use api::types::EventLine;
use serde_json::json;

use super::*;
use vmm::lifecycle::{EventBus, EventKind};

/// Events go out as the API promises them, those about lost ones too.
#[test]
fn lines_of_events() {
    let bus = EventBus::new();
    let mut lines = Events { events: bus.subscribe(), last: 0 };
    bus.publish(EventKind::Created);
    bus.publish(EventKind::DeviceAdded { id: "net0".to_owned() });
    let mut next = || match lines.next(Duration::from_secs(5)) {
        Line::Text(line) => serde_json::from_str::<EventLine>(&line).unwrap(),
        other => panic!("{other:?}"),
    };
    let (one, two) = (next(), next());
    assert_eq!((one.seq, one.source.as_str(), one.event.as_str()), (1, "vm", "created"));
    assert_eq!((two.seq, two.properties), (2, BTreeMap::from([("id".to_owned(), json!("net0"))])));
    let line: EventLine = serde_json::from_str(&lost(7, 5)).unwrap();
    assert_eq!((line.seq, line.event.as_str(), &line.properties["count"]), (7, "lost", &json!(5)));
    bus.close();
    assert_eq!(lines.next(Duration::from_secs(5)), Line::End);
}

#[test]
fn functions_to_probe() {
    for wrong in ["", "/", "eth0", "/sys/bus/pci/devices/", "/sys/bus/pci/devices/ffff:ff:1f.7"] {
        let fault = target(wrong, "path").unwrap_err();
        assert_eq!((fault.code, fault.field.as_deref()), (Code::DeviceNotFound, Some("path")), "{wrong}");
    }
    let Some(bdf) = Sysfs::new().functions().ok().and_then(|functions| functions.first().copied()) else {
        println!("SKIPPED: functions_to_probe: this machine shows no PCI functions");
        return;
    };
    assert_eq!(
        target(&format!("/sys/bus/pci/devices/{bdf}/"), "path").unwrap(),
        target(&bdf.to_string(), "vf").unwrap()
    );
}
