// SPDX-License-Identifier: Apache-2.0
use super::*;
use crate::contract::document;

/// The list in the document is the table. To write it: `HEIRLOOM_UPDATE=1 cargo test -p devices --lib failure`.
#[test]
fn the_document_lists_the_kinds() {
    const BEGIN: &str = "<!-- kinds of failure: generated from devices/src/contract/failure.rs -->\n";
    const END: &str = "<!-- end of the kinds -->\n";
    let mut list = String::from("\n| kind | what | of |\n| --- | --- | --- |\n");
    for kind in FailureKind::ALL {
        let of = match kind.scope() {
            Scope::Registers => "registers and the VF",
            Scope::Commands => "admin commands",
            Scope::Both => "both",
        };
        list += &format!("| `{}` | {} | {of} |\n", kind.name(), kind.text());
    }
    list += "\n";
    document::has_list(BEGIN, END, &list, "failure");
}

#[test]
fn counts_have_the_kinds_of_their_scope_in_order() {
    let mut registers = RegisterFailures::default();
    registers.add(FailureKind::Function);
    registers.add(FailureKind::Refused);
    registers.add(FailureKind::Refused);
    assert_eq!((registers.total(), registers.get(FailureKind::Refused)), (3, 2));
    assert_eq!(
        serde_json::to_string(&registers).unwrap(),
        r#"{"refused":2,"timeout":0,"cancelled":0,"short":0,"full":0,"dead":0,"no_register":0,"function":1}"#
    );
    assert_eq!(
        serde_json::to_string(&CommandFailures::default()).unwrap(),
        r#"{"refused":0,"timeout":0,"cancelled":0,"short":0,"full":0,"dead":0,"too_long":0}"#
    );
}
