// SPDX-License-Identifier: Apache-2.0
//! For tests: lists in documents that are made of tables in the code.

use std::fs;
use std::path::Path;

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
