// SPDX-License-Identifier: Apache-2.0
//! For tests: lists in documents that are made of tables in the code.

use std::fs;
use std::path::Path;

use super::{CounterKind, Metric};

/// What `docs/operation.md` has between the lines `begin` and `end` is `list`. With `HEIRLOOM_UPDATE` it is written;
/// `tests` is how to run the caller alone.
#[track_caller]
pub(crate) fn has_list(begin: &str, end: &str, list: &str, tests: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operation.md");
    let page = fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(begin).unwrap();
    let (is, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("HEIRLOOM_UPDATE").is_some() {
        fs::write(&path, format!("{head}{begin}{list}{end}{tail}")).unwrap();
    } else {
        assert_eq!(is, list, "HEIRLOOM_UPDATE=1 cargo test -p devices --lib {tests} writes it");
    }
}

/// Such a list of a table of counters. `report` heads the column with their names in reports, as `name` has them;
/// `flat`: whether `vm.counters` has them, too.
pub(crate) fn counters<K: CounterKind>(report: &str, flat: bool, name: impl Fn(K) -> String) -> String {
    let (head, rule) = if flat { ("| `vm.counters` ", "| --- ") } else { ("", "") };
    let mut list = format!("\n| {report} {head}| metric | what |\n| --- {rule}| --- | --- |\n");
    for kind in K::ALL {
        let flat = if flat { format!("| `{}` ", kind.name()) } else { String::new() };
        let metric = kind.metric().map_or(String::new(), |Metric { family, value }| match family.label {
            Some(label) => format!("`{}`, {label}={value}", family.name),
            None => format!("`{}`", family.name),
        });
        list += &format!("| `{}` {flat}| {metric} | {} |\n", name(*kind), kind.text());
    }
    list + "\n"
}
