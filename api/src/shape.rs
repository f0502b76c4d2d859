// SPDX-License-Identifier: Apache-2.0
//! Lists where a type has an object. serde reads a structure from a list of its fields as well, which the API does
//! not document and whose order it does not promise. Pure.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The path of the first list that stands in `value` where `T` has none. The schema of a `T` is made once.
pub(crate) fn misplaced_list<T: JsonSchema + 'static>(value: &Value) -> Option<String> {
    static SCHEMAS: Mutex<BTreeMap<TypeId, Arc<Value>>> = Mutex::new(BTreeMap::new());
    let mut schemas = SCHEMAS.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = Arc::clone(schemas.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(inlined_schema::<T>())));
    drop(schemas);
    find(value, &schema)
}

/// The schema of `T` with no references in it.
pub(crate) fn inlined_schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

fn find(value: &Value, schema: &Value) -> Option<String> {
    match value {
        Value::Array(_) if !allows_list(schema) => Some(String::new()),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let inside = alternatives(schema).find_map(|schema| schema.get("items"))?;
            find(item, inside).map(|path| format!("[{index}]{}", dotted(&path)))
        }),
        Value::Object(fields) => fields.iter().find_map(|(name, field)| {
            let inside = alternatives(schema).find_map(|schema| schema.get("properties")?.get(name))?;
            find(field, inside).map(|path| format!("{name}{}", dotted(&path)))
        }),
        _ => None,
    }
}

/// What follows a name: `[0]` does at once, another name after a dot.
fn dotted(path: &str) -> String {
    if path.is_empty() || path.starts_with('[') { path.to_owned() } else { format!(".{path}") }
}

/// A schema and the schemas that it offers as a choice.
fn alternatives(schema: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    let choices = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|name| schema.get(name)?.as_array());
    Box::new(std::iter::once(schema).chain(choices.flatten().flat_map(alternatives)))
}

fn allows_list(schema: &Value) -> bool {
    alternatives(schema).any(|schema| match schema.get("type") {
        Some(Value::String(kind)) => kind == "array",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "array"),
        // A choice, a list of words, or anything at all.
        _ => schema == &Value::Bool(true) || schema.as_object().is_some_and(serde_json::Map::is_empty),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::VmConfig;

    #[test]
    fn lists_in_the_place_of_objects_are_found() {
        let found = |value: Value| misplaced_list::<VmConfig>(&value);
        for (value, path) in [
            (json!([]), ""),
            (json!({"payload": ["vmlinux"]}), "payload"),
            (json!({"smbios": [null, null]}), "smbios"),
            (json!({"memory": [536_870_912]}), "memory"),
            (json!({"cpus": [1]}), "cpus"),
            (json!({"legacy_virtio": [["disk"]]}), "legacy_virtio[0]"),
            (json!({"legacy_virtio": [{}, {"soft": {"blk": ["disk.img", false]}}]}), "legacy_virtio[1].soft.blk"),
            (json!({"legacy_virtio": {"id": "disk"}, "devices": [{"id": []}]}), "devices[0].id"),
        ] {
            assert_eq!(found(value.clone()).as_deref(), Some(path), "{value}");
        }
        let good = json!({"payload": {"kernel": "vmlinux"}, "memory": {"size": 536_870_912}, "serial": {"mode": "Tty"},
            "legacy_virtio": [{"id": "disk", "soft": {"blk": {"file": "disk.img"}}}, {"vf": "0000:41:00.3"}]});
        assert_eq!(found(good), None);
    }
}
