// SPDX-License-Identifier: Apache-2.0
//! From the schema of a type to its keys. The schemas are those of this crate's own types; what none of these has is
//! no key.

use schemars::JsonSchema;
use serde_json::Value;

use super::{ALTERNATIVE, OPTION, SIZE};
use crate::shape::inlined_schema;

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// What help calls a value that is not a word of a few.
    pub(super) value: String,
    pub(super) presence: Presence,
    pub(super) text: String,
}

/// Whether a key has to be there.
#[derive(Clone, Debug)]
pub(super) enum Presence {
    Required,
    /// What holds without it, if that can be told.
    Optional(Option<Value>),
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Switch,
    /// Present or not.
    Flag,
    Number {
        min: u64,
        max: u64,
    },
    /// Bytes.
    Size,
    Choice(Vec<Choice>),
    Text,
}

/// One of the words that a value can be.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) name: String,
    pub(super) text: String,
}

/// How an object or one of several is written.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Keys only.
    Fields(Vec<Field>),
    /// The value of one field, then keys for the others.
    Object { main: String, key: Key, rest: Vec<Field> },
    /// The name of one of several objects, then keys for its fields.
    Tagged { key: Key, variants: Vec<Tagged> },
    /// Each choice is a key: of a value, or alone.
    Variants(Vec<Variant>),
    /// One value.
    Value(Key),
}

/// One of the objects that a value can be.
#[derive(Clone, Debug)]
pub(super) struct Tagged {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) fields: Vec<Field>,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    /// Exactly one of those fields is there.
    pub(super) alternative: bool,
    pub(super) shape: Shape,
}

/// A choice that is a key itself.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) key: Key,
}

/// How a `T` is written.
pub(super) fn shape<T: JsonSchema>() -> Shape {
    match shape_of(&inlined_schema::<T>(), "", true) {
        Some(shape) => shape,
        None => Shape::Fields(Vec::new()),
    }
}

/// The shape of a value with this schema whose field has this name; nothing if it is not a key.
fn shape_of(schema: &Value, field: &str, required: bool) -> Option<Shape> {
    let inner = not_null(schema);
    let key = |kind, value: &str| Key::new(schema, field, required, kind, value);
    if let Some(properties) = inner.get("properties").and_then(Value::as_object) {
        let mut fields: Vec<_> = names(inner).chain(properties.keys().map(String::as_str)).collect();
        let main = names(inner).next();
        let mut seen = Vec::new();
        fields.retain(|name| {
            Some(*name) != main && !seen.contains(name) && {
                seen.push(*name);
                true
            }
        });
        let is_required = |name: &str| names(inner).any(|required| required == name);
        let field_of = |name: &&str| field_of(name, properties.get(*name)?, is_required(name));
        let mut rest: Vec<_> = fields.iter().filter_map(field_of).collect();
        rest.sort_by_key(|field| !field.alternative);
        let Some(main) = main else { return Some(Shape::Fields(rest)) };
        let value = properties.get(main)?;
        let Some(Shape::Value(of_main)) = shape_of(value, main, true) else { return None };
        let named = key(of_main.kind, &of_main.value);
        return Some(Shape::Object { main: main.to_owned(), key: named, rest });
    }
    let Some(choices) = inner.get("oneOf").and_then(Value::as_array) else {
        return Some(Shape::Value(key(kind(schema, inner)?, "TEXT")));
    };
    if let Some(words) = choices.iter().map(word).collect::<Option<Vec<_>>>() {
        return Some(Shape::Value(key(Kind::Choice(words), "WORD")));
    }
    if let Some(variants) = choices.iter().map(tagged).collect::<Option<Vec<_>>>() {
        let words = variants.iter().map(|v| Choice { name: v.name.clone(), text: v.text.clone() });
        return Some(Shape::Tagged { key: key(Kind::Choice(words.collect()), "WORD"), variants });
    }
    Some(Shape::Variants(choices.iter().filter_map(variant).collect()))
}

fn field_of(name: &str, schema: &Value, required: bool) -> Option<Field> {
    if schema.get(OPTION).and_then(Value::as_str) == Some("") {
        return None;
    }
    let alternative = schema.get(ALTERNATIVE).is_some();
    Some(Field { name: name.to_owned(), alternative, shape: shape_of(schema, name, required)? })
}

impl Key {
    pub(super) fn is_required(&self) -> bool {
        matches!(self.presence, Presence::Required)
    }

    /// What holds without it, if that can be told.
    pub(super) fn default(&self) -> Option<&Value> {
        match &self.presence {
            Presence::Required => None,
            Presence::Optional(default) => default.as_ref(),
        }
    }

    fn new(schema: &Value, field: &str, required: bool, kind: Kind, value: &str) -> Self {
        let (name, called) =
            schema.get(OPTION).and_then(Value::as_str).and_then(|o| o.split_once('=')).unwrap_or_default();
        let value = match (&kind, called) {
            (Kind::Number { .. }, "") => "N",
            (_, "") => value,
            (_, called) => called,
        };
        Self {
            name: if name.is_empty() { field } else { name }.to_owned(),
            kind,
            value: value.to_owned(),
            presence: match schema.get("default").filter(|default| !default.is_null()) {
                None if required => Presence::Required,
                default => Presence::Optional(default.cloned()),
            },
            text: text(schema),
        }
    }
}

fn kind(schema: &Value, inner: &Value) -> Option<Kind> {
    let of_type = match inner.get("type")? {
        Value::Array(types) => types.first()?.as_str()?,
        one => one.as_str()?,
    };
    let size = || schema.get(OPTION).and_then(Value::as_str).is_some_and(|option| option.ends_with(SIZE));
    let limit = |name: &str| inner.get(name).and_then(Value::as_u64);
    match of_type {
        "boolean" => Some(Kind::Switch),
        "integer" if size() => Some(Kind::Size),
        "integer" => Some(Kind::Number { min: limit("minimum")?, max: limit("maximum")? }),
        "string" => Some(Kind::Text),
        _ => None,
    }
}

/// A word without anything.
fn word(choice: &Value) -> Option<Choice> {
    Some(Choice { name: choice.get("const")?.as_str()?.to_owned(), text: text(choice) })
}

/// An object of one field that is an object.
fn tagged(choice: &Value) -> Option<Tagged> {
    let name = names(choice).next()?;
    let inner = choice.get("properties")?.get(name)?;
    let properties = inner.get("properties")?.as_object()?;
    let is_required = |name: &str| names(inner).any(|required| required == name);
    let mut fields: Vec<_> =
        properties.iter().filter_map(|(name, schema)| field_of(name, schema, is_required(name))).collect();
    fields.sort_by_key(|field| !is_required(&field.name));
    Some(Tagged { name: name.to_owned(), text: text(choice), fields })
}

/// A choice that is a key: an object of one field that is a value, or a word.
fn variant(choice: &Value) -> Option<Variant> {
    if let Some(Choice { name, text }) = word(choice) {
        let (kind, value) = (Kind::Flag, String::new());
        let key = Key { name: name.clone(), kind, value, presence: Presence::Optional(None), text };
        return Some(Variant { name, key });
    }
    let name = names(choice).next()?;
    let inner = choice.get("properties")?.get(name)?;
    if choice.get(OPTION).and_then(Value::as_str) == Some("") {
        return None;
    }
    let Some(Shape::Value(key)) = shape_of(inner, name, false) else { return None };
    let (_, called) = choice.get(OPTION).and_then(Value::as_str).and_then(|o| o.split_once('='))?;
    Some(Variant { name: name.to_owned(), key: Key { value: called.to_owned(), text: text(choice), ..key } })
}

/// The names of the fields that must be there.
fn names(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The schema of a value that may be null, as it is where it is not.
fn not_null(schema: &Value) -> &Value {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let is_null = |schema: &&Value| schema.get("type").and_then(Value::as_str) == Some("null");
    choices.and_then(|choices| choices.iter().find(|choice| !is_null(choice))).unwrap_or(schema)
}

fn text(schema: &Value) -> String {
    let text = schema.get("description").or_else(|| not_null(schema).get("description"));
    text.and_then(Value::as_str).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
