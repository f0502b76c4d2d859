// SPDX-License-Identifier: Apache-2.0
//! The OpenAPI 3.0 document, made of the table of routes and the types' own schemas. Pure.

use std::sync::LazyLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::routes::{Body, Content, Route, Success};
use crate::service::routes;
use crate::state::VmState;
use crate::{Code, Fault, VmConfig, compat, options};

/// Versions of the interface, not of Heirloom: a field or route more raises the second number.
const API_VERSION: &str = "1.0.0";

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

fn build() -> Value {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut paths = Map::new();
    for route in routes() {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(entry) = entry.as_object_mut() {
            entry.insert(route.method.name().to_lowercase(), operation(route, &mut generator));
        }
    }
    generator.subschema_for::<Fault>();
    generator.subschema_for::<VmConfig>();
    let mut schemas = Value::Object(generator.take_definitions(true));
    options::strip(&mut schemas);
    add_foreign_fields(&mut schemas);
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Heirloom",
            "version": API_VERSION,
            "description": "One virtual machine, over HTTP on a unix socket. Names and types follow Cloud Hypervisor's \
                            where the two have something in common.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0.html"},
        },
        "servers": [{"url": "http://localhost"}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let states = format!("Works when the virtual machine is: {}.", named_states(route));
    let description = if route.words.text.is_empty() { states } else { format!("{}\n\n{states}", route.words.text) };
    let mut operation = json!({
        "operationId": route.words.operation,
        "summary": route.words.summary,
        "description": description,
        "responses": responses(route, generator),
    });
    let Some(object) = operation.as_object_mut() else { return operation };
    if let Some(body) = route.input.body {
        object.insert("requestBody".to_owned(), json!({"required": true, "content": content(body, generator)}));
    }
    if !route.input.parameters.is_empty() {
        let parameters = route.input.parameters.iter().map(|p| {
            json!({"name": p.name, "in": "query", "required": false, "description": p.text,
                   "schema": {"type": "string"}, "example": p.example})
        });
        object.insert("parameters".to_owned(), parameters.collect());
    }
    operation
}

fn named_states(route: &Route) -> String {
    if route.states().is_any() { "in any state, or not there".to_owned() } else { route.states().to_string() }
}

fn responses(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for success in route.output.successes {
        responses.insert(success.status.to_string(), success_response(success, generator));
    }
    let codes = route.codes();
    let schema = generator.subschema_for::<Fault>();
    for group in codes.chunk_by(|a, b| a.status() == b.status()) {
        let Some(status) = group.first().map(|code| code.status()) else { continue };
        let text: Vec<_> = group.iter().map(|code| format!("`{}`: {}.", code.name(), code.meaning())).collect();
        let examples: Map<_, _> =
            group.iter().map(|code| (code.name(), json!({"value": example_fault(route, *code)}))).collect();
        let content = json!({"application/json": {"schema": schema, "examples": examples}});
        responses.insert(status.to_string(), json!({"description": text.join(" "), "content": content}));
    }
    Value::Object(responses)
}

/// A fault as the route would answer it, where the table can tell.
fn example_fault(route: &Route, code: Code) -> Fault {
    let by_state = VmState::ALL.iter().filter_map(|state| route.check_state(*state).err());
    by_state.into_iter().find(|fault| fault.code == code).unwrap_or_else(|| Fault::new(code, code.meaning()))
}

fn success_response(success: &Success, generator: &mut SchemaGenerator) -> Value {
    let content = match success.content {
        Content::Empty => return json!({"description": success.text}),
        Content::Json(body) => content(body, generator),
        Content::Document => json!({"application/json": {"schema": {"type": "object"}}}),
        Content::Text(media) => json!({media: {"schema": {"type": "string"}}}),
        Content::Lines(body) => json!({"application/x-ndjson": media(body, generator)}),
    };
    json!({"description": success.text, "content": content})
}

fn content(body: Body, generator: &mut SchemaGenerator) -> Value {
    json!({"application/json": media(body, generator)})
}

fn media(body: Body, generator: &mut SchemaGenerator) -> Value {
    let mut media = json!({"schema": (body.schema)(generator)});
    let examples: Map<_, _> = (1..)
        .zip(body.examples)
        .filter_map(|(number, (summary, text))| {
            // The test over all examples says that they parse.
            let value: Value = serde_json::from_str(text).ok()?;
            let mut example = json!({"value": value});
            if !summary.is_empty() {
                example.as_object_mut()?.insert("summary".to_owned(), json!(summary));
            }
            Some((format!("example{number}"), example))
        })
        .collect();
    if let (false, Some(media)) = (examples.is_empty(), media.as_object_mut()) {
        media.insert("examples".to_owned(), Value::Object(examples));
    }
    media
}

/// Which schema describes an object of the configuration.
const SCHEMA_OF: [(&str, &str); 6] = [
    ("", "VmConfig"),
    ("payload", "PayloadConfig"),
    ("cpus", "CpusConfig"),
    ("memory", "MemoryConfig"),
    ("serial", "ConsoleConfig"),
    (compat::DEVICES, "DeviceConfig"),
];

/// Cloud Hypervisor's fields are not fields of the types, and accepted all the same.
fn add_foreign_fields(schemas: &mut Value) {
    for field in compat::FOREIGN {
        let Some((_, name)) = SCHEMA_OF.iter().find(|(object, _)| *object == field.object) else { continue };
        let properties = schemas.get_mut(*name).and_then(|schema| schema.get_mut("properties"));
        if let Some(properties) = properties.and_then(Value::as_object_mut) {
            properties.insert(field.name.to_owned(), field.schema());
        }
    }
    if let Some(properties) = schemas.pointer_mut("/DeviceConfig/properties").and_then(Value::as_object_mut) {
        let text = "Cloud Hypervisor's. The function's path in sysfs: stands for `vfio` with the address at its end.";
        let path = json!({"type": "string", "nullable": true, "pattern": compat::PATH_PATTERN, "description": text});
        properties.insert(compat::PATH.to_owned(), path);
    }
    for (object, field) in compat::NULL_IS_DEFAULT {
        let Some((_, name)) = SCHEMA_OF.iter().find(|(known, _)| known == object) else { continue };
        let property = schemas.get_mut(*name).and_then(|schema| schema.pointer_mut(&format!("/properties/{field}")));
        if let Some(property) = property.and_then(Value::as_object_mut) {
            property.insert("nullable".to_owned(), json!(true));
        }
    }
    for (object, field, theirs, _) in compat::SYNONYMS {
        let Some((_, name)) = SCHEMA_OF.iter().find(|(known, _)| known == object) else { continue };
        let property = schemas.get_mut(*name).and_then(|schema| schema.pointer_mut(&format!("/properties/{field}")));
        if let Some(property) = property {
            *property = json!({"anyOf": [property.clone(), {"type": "string", "enum": [theirs]}]});
        }
    }
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
