// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::contract::{CounterKind, document};

/// The list in the document is the table. To write it: `HEIRLOOM_UPDATE=1 cargo test -p devices --lib pf_log`.
#[test]
fn the_document_lists_the_counters() {
    const BEGIN: &str = "<!-- counters: generated from devices/src/admin/pf_log.rs -->\n";
    const END: &str = "<!-- end of the counters of a PF -->\n";
    let list = document::counters("report, `pfs[]`", false, |kind: PfCounter| kind.name().to_owned());
    document::has_list(BEGIN, END, &list, "pf_log");
}
