// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::contract::{CounterKind, document};

/// The list in the document is the table. To write it: `HEIRLOOM_UPDATE=1 cargo test -p devices --lib passthrough::report`.
#[test]
fn the_document_lists_the_counters() {
    const BEGIN: &str = "<!-- counters: generated from devices/src/passthrough/report.rs -->\n";
    const END: &str = "<!-- end of the counters of a function passed through -->\n";
    let list = document::counters("report", true, |kind: PassthroughCounter| kind.name().to_owned());
    document::has_list(BEGIN, END, &list, "passthrough::report");
}

#[test]
fn reports_have_the_counters_beside_the_rest() {
    let report = PassthroughReport {
        id: "nic".into(),
        function: "host".into(),
        vendor_id: 1,
        device_id: 2,
        interrupts: InterruptUse::Msi,
        counts: PassthroughCounts::new([3, 4, 5, 6]),
        faulted: None,
    };
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        concat!(
            r#"{"id":"nic","function":"host","vendor_id":1,"device_id":2,"interrupts":"msi","reads":3,"writes":4,"#,
            r#""resets":5,"errors":6,"faulted":null}"#
        )
    );
}
