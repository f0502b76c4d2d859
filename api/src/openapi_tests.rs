// SPDX-License-Identifier: Apache-2.0
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::{options, reference};

/// The files that are made of the table. `HEIRLOOM_UPDATE=1` writes them; without it they are compared.
#[test]
fn generated_files_are_current() {
    let mut yaml = String::from(
        "# SPDX-License-Identifier: Apache-2.0\n# Made by `HEIRLOOM_UPDATE=1 cargo test -p api generated_files`. Do not edit.\n",
    );
    yaml.push_str(&serde_yaml_ng::to_string(document()).unwrap());
    let operation = with_tables(&fs::read_to_string(repository("docs/operation.md")).unwrap());
    for (file, text) in
        [("resources/openapi.yaml", yaml), ("docs/api.md", reference::markdown()), ("docs/operation.md", operation)]
    {
        let path = repository(file);
        if std::env::var_os("HEIRLOOM_UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let current = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            current == text,
            "{file} is not what the routes and types say; run: HEIRLOOM_UPDATE=1 cargo test -p api generated_files"
        );
    }
}

fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

/// The text with its tables of keys as the types have them.
fn with_tables(text: &str) -> String {
    let tables = [
        ("--legacy-virtio", options::LEGACY_VIRTIO.markdown()),
        ("--device", options::DEVICE.markdown()),
        ("--memory", options::MEMORY.markdown()),
        ("--smbios", options::SMBIOS.markdown()),
    ];
    tables.into_iter().fold(text.to_owned(), |text, (option, table)| {
        let (before, rest) = text.split_once(&format!("<!-- keys of {option}: ")).expect(option);
        let (note, rest) = rest.split_once('\n').expect(option);
        let (_, after) = rest.split_once("<!-- end of keys -->").expect(option);
        format!("{before}<!-- keys of {option}: {note}\n\n{table}\n<!-- end of keys -->{after}")
    })
}

#[test]
fn the_file_says_what_the_server_serves() {
    let file: Value =
        serde_yaml_ng::from_str(&fs::read_to_string(repository("resources/openapi.yaml")).unwrap()).unwrap();
    assert_eq!(&file, document());
}

#[test]
fn references_lead_somewhere() {
    fn walk(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| walk(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    let mut references = Vec::new();
    walk(document(), &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document().pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn accepted_foreign_fields_are_in_the_schema() {
    for field in compat::FOREIGN {
        let (_, name) = SCHEMA_OF.iter().find(|(object, _)| *object == field.object).unwrap();
        let pointer = format!("/components/schemas/{name}/properties/{}", field.name);
        assert!(document().pointer(&pointer).is_some(), "{pointer}");
    }
}

#[test]
fn every_route_and_code_is_in_the_document() {
    for route in routes() {
        let operation = &document()["paths"][route.path][route.method.name().to_lowercase()];
        assert_eq!(operation["operationId"], route.words.operation);
        let statuses: std::collections::BTreeSet<_> =
            operation["responses"].as_object().unwrap().keys().cloned().collect();
        let codes = route.codes();
        let expected = route.output.successes.iter().map(|s| s.status).chain(codes.iter().map(|c| c.status()));
        assert_eq!(statuses, expected.map(|status| status.to_string()).collect());
    }
}
