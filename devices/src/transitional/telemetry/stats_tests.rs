// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeSet;

use super::*;
use crate::contract::document;

/// The list in the document is the table. To write it: `HEIRLOOM_UPDATE=1 cargo test -p devices --lib stats`.
#[test]
fn the_document_lists_the_counters() {
    const BEGIN: &str = "<!-- counters: generated from devices/src/transitional/telemetry/stats.rs -->\n";
    const END: &str = "<!-- end of the counters -->\n";
    let list = document::counters("report, `vm.legacy`", true, |kind: DeviceCounter| {
        let group = Group::NAMED.iter().find(|(group, _)| *group == kind.group());
        let group = group.map_or(String::new(), |(_, name)| format!("{name}."));
        format!("{group}{}", kind.short_name())
    });
    document::has_list(BEGIN, END, &list, "stats");
}

#[test]
fn reports_have_the_groups_and_each_counter_where_it_belongs() {
    let counts = DeviceCounter::ALL
        .iter()
        .fold(DeviceCounts::default(), |counts, kind| counts.with(*kind, kind.index() as u64 + 100));
    let mut json = Vec::new();
    serialize(&counts, &mut serde_json::Serializer::new(&mut json)).unwrap();
    assert_eq!(
        String::from_utf8(json).unwrap(),
        concat!(
            r#"{"kicks":{"store":100,"ioeventfd":101,"ioeventfd_queues":102,"ioeventfd_uncounted":103,"admin":104,"#,
            r#""dropped":105,"early":106,"replayed":107,"early_starts":108},"intx":{"queue":109,"config":110,"#,
            r#""spurious":111,"throttled":112},"accesses":{"reads":113,"writes":114,"isr_reads":115,"shadow_reads":116,"#,
            r#""commands":117},"resets":118,"function_resets":119}"#
        )
    );
    let flat: BTreeSet<_> = DeviceCounter::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(flat.len(), DeviceCounter::COUNT, "no two counters of one name in vm.counters");
    let samples: BTreeSet<_> = DeviceCounter::ALL
        .iter()
        .filter_map(|kind| kind.metric())
        .collect::<Vec<_>>()
        .iter()
        .map(|metric| (metric.family.name, metric.value))
        .collect();
    assert_eq!(samples.len(), DeviceCounter::ALL.iter().filter(|kind| kind.metric().is_some()).count());
}
