// SPDX-License-Identifier: Apache-2.0
//! Keys and values into a type: first into the JSON that a client of the API would send, then as the API reads that.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::list::{Pair, Pairs};
use super::schema::{Choice, Field, Key, Kind, Shape, Tagged, Variant};
use crate::parse_size;

/// What is known while a list is read.
struct Reader {
    pairs: Pairs,
    /// Keys that were looked for.
    known: Vec<String>,
    /// What was written for which part of the JSON.
    written: Vec<Written>,
}

struct Written {
    path: String,
    text: String,
}

pub(super) fn parse<T: DeserializeOwned>(shape: &Shape, text: &str) -> Result<T, String> {
    let mut reader = Reader { pairs: Pairs::split(text)?, known: Vec::new(), written: Vec::new() };
    let value = reader.root(shape)?;
    if let Some(key) = reader.pairs.rest() {
        return Err(format!("unknown key '{key}'; the keys here are {}", reader.known.join(", ")));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let written = reader.written.iter().find(|written| written.path == path);
        let error = error.into_inner();
        written.map_or_else(|| error.to_string(), |written| format!("{}: {error}", written.text))
    })
}

impl Reader {
    fn root(&mut self, shape: &Shape) -> Result<Value, String> {
        match shape {
            Shape::Object { main, key, rest } => {
                let head = self.pairs.take_head().ok_or_else(|| format!("must begin with {}", key.value))?;
                self.wrote(main, &head, None);
                let mut object = Map::from_iter([(main.clone(), scalar(key, &head)?)]);
                self.fields(rest, "", "", &mut object)?;
                Ok(Value::Object(object))
            }
            Shape::Tagged { variants, .. } => {
                let known = |name: &str| variants.iter().find(|variant| variant.name == name);
                let head = self.pairs.take_head();
                let variant = head.as_deref().and_then(known);
                let again = variants.iter().any(|variant| self.pairs.take(&variant.name).is_some());
                match variant {
                    Some(variant) if !again => self.tagged(variant, "", &variant.name),
                    _ => {
                        let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
                        let examples: Vec<_> = variants.iter().map(example).collect();
                        Err(format!("must begin with {}: write {}", or(&names), examples.join(" or ")))
                    }
                }
            }
            Shape::Fields(fields) => {
                let mut object = Map::new();
                self.fields(fields, "", "", &mut object)?;
                Ok(Value::Object(object))
            }
            Shape::Variants(_) | Shape::Value(_) => Err("this is not written with keys".to_owned()),
        }
    }

    /// The fields of the object at `path` that was asked for with `whose`.
    fn fields(
        &mut self,
        fields: &[Field],
        path: &str,
        whose: &str,
        into: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let alternatives: Vec<_> = fields.iter().filter(|field| field.alternative).collect();
        let mut given = Vec::new();
        for field in &alternatives {
            self.known.extend(key_of(&field.shape).map(|key| key.name.clone()));
            given.extend(key_of(&field.shape).and_then(|key| self.pairs.take(&key.name)).map(|pair| (*field, pair)));
        }
        match given.as_slice() {
            [(field, pair)] => {
                let value = self.value(field, path, pair)?;
                into.insert(field.name.clone(), value);
            }
            _ if alternatives.is_empty() => {}
            _ => return Err(choose(&alternatives)),
        }
        for field in fields.iter().filter(|field| !field.alternative) {
            match &field.shape {
                Shape::Variants(variants) => {
                    let value = self.variants(variants, &join(path, &field.name), whose)?;
                    into.insert(field.name.clone(), value);
                }
                shape => {
                    let Some(key) = key_of(shape) else { continue };
                    self.known.push(key.name.clone());
                    match self.pairs.take(&key.name) {
                        Some(pair) => {
                            let value = self.value(field, path, &pair)?;
                            into.insert(field.name.clone(), value);
                        }
                        None if key.is_required() => return Err(needs(whose, &[key])),
                        None => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// The field of the object at `path` that is written as `pair`, and what comes beside it.
    fn value(&mut self, field: &Field, path: &str, pair: &Pair) -> Result<Value, String> {
        let path = join(path, &field.name);
        match &field.shape {
            Shape::Value(key) => {
                self.wrote(&path, &pair.key, pair.value.as_deref());
                keyed(key, pair)
            }
            Shape::Object { main, key, rest } => {
                self.wrote(&join(&path, main), &pair.key, pair.value.as_deref());
                let mut object = Map::from_iter([(main.clone(), keyed(key, pair)?)]);
                self.fields(rest, &path, &format!("{}=", key.name), &mut object)?;
                Ok(Value::Object(object))
            }
            Shape::Tagged { key, variants } => {
                let name = value_of(key, pair)?;
                let variant = variants.iter().find(|variant| variant.name == name);
                let variant = variant.ok_or_else(|| {
                    let names: Vec<_> = variants.iter().map(|variant| variant.name.as_str()).collect();
                    format!("{}={name}: there is no such device; the devices are {}", pair.key, and(&names))
                })?;
                self.tagged(variant, &path, &format!("{}={name}", pair.key))
            }
            // They have no key of their own, so no pair leads here.
            Shape::Fields(_) | Shape::Variants(_) => Ok(Value::Null),
        }
    }

    fn tagged(&mut self, variant: &Tagged, path: &str, whose: &str) -> Result<Value, String> {
        let mut object = Map::new();
        self.fields(&variant.fields, &join(path, &variant.name), whose, &mut object)?;
        Ok(json!({ variant.name.as_str(): object }))
    }

    /// Exactly one of these keys.
    fn variants(&mut self, variants: &[Variant], path: &str, whose: &str) -> Result<Value, String> {
        let keys: Vec<_> = variants.iter().map(|variant| &variant.key).collect();
        self.known.extend(keys.iter().map(|key| key.name.clone()));
        let mut given = None;
        for variant in variants {
            let Some(pair) = self.pairs.take(&variant.key.name) else { continue };
            let value = match (&variant.key.kind, keyed(&variant.key, &pair)?) {
                (Kind::Flag, Value::Bool(false)) => continue,
                (Kind::Flag, _) => json!(variant.name),
                (_, value) => {
                    self.wrote(&join(path, &variant.name), &pair.key, pair.value.as_deref());
                    // `tap=loopback` is easily written, and no tap would be called so.
                    let is_flag = |v: &&Variant| matches!(v.key.kind, Kind::Flag) && value == json!(v.name);
                    match variants.iter().find(is_flag) {
                        Some(flag) => json!(flag.name),
                        None => json!({ variant.name.as_str(): value }),
                    }
                }
            };
            if given.replace(value).is_some() {
                return Err(format!("{whose} takes {}, not both", or_keys(&keys)));
            }
        }
        given.ok_or_else(|| needs(whose, &keys))
    }

    fn wrote(&mut self, path: &str, key: &str, value: Option<&str>) {
        let text = value.map_or(key.to_owned(), |value| format!("{key}={value}"));
        self.written.push(Written { path: path.to_owned(), text });
    }
}

/// The value of a pair as JSON.
fn keyed(key: &Key, pair: &Pair) -> Result<Value, String> {
    let alone = match key.kind {
        Kind::Flag => true,
        // Alone it would say what goes without saying where it is on by default.
        Kind::Switch => key.default() != Some(&Value::Bool(true)),
        _ => false,
    };
    if alone && pair.value.is_none() {
        return Ok(Value::Bool(true));
    }
    let text = value_of(key, pair)?;
    scalar(key, text).map_err(|error| format!("{}={text}: {error}", pair.key))
}

fn value_of<'p>(key: &Key, pair: &'p Pair) -> Result<&'p str, String> {
    let name = &key.name;
    pair.value
        .as_deref()
        .filter(|value| !value.is_empty())
        .ok_or_else(|| format!("the key '{name}' needs a value: {name}=..."))
}

fn scalar(key: &Key, text: &str) -> Result<Value, String> {
    match &key.kind {
        Kind::Flag | Kind::Switch => match text {
            "on" => Ok(Value::Bool(true)),
            "off" => Ok(Value::Bool(false)),
            _ => Err("must be on or off".to_owned()),
        },
        Kind::Number { min, max } => match text.parse::<u64>() {
            Ok(number) if (*min..=*max).contains(&number) => Ok(json!(number)),
            _ => Err(format!("must be {min} to {max}")),
        },
        Kind::Size => parse_size(text).map(|size| json!(size)).map_err(|error| error.to_string()),
        Kind::Choice(choices) if choices.iter().any(|choice| choice.name == text) => Ok(json!(text)),
        Kind::Choice(choices) => {
            let names: Vec<_> = choices.iter().map(|Choice { name, .. }| name.as_str()).collect();
            Err(format!("must be {}", or(&names)))
        }
        Kind::Text => Ok(json!(text)),
    }
}

/// The key that a field is there by.
fn key_of(shape: &Shape) -> Option<&Key> {
    match shape {
        Shape::Value(key) | Shape::Object { key, .. } | Shape::Tagged { key, .. } => Some(key),
        Shape::Fields(_) | Shape::Variants(_) => None,
    }
}

fn needs(whose: &str, keys: &[&Key]) -> String {
    let why = match keys {
        [key] => format!(": {}", key.text.trim_end_matches('.')),
        _ => String::new(),
    };
    format!("{whose} needs {}{why}", or_keys(keys))
}

fn choose(alternatives: &[&Field]) -> String {
    let keys: Vec<_> = alternatives.iter().filter_map(|field| key_of(&field.shape)).collect();
    let names: Vec<_> = keys.iter().map(|key| format!("{}=", key.name)).collect();
    let examples: Vec<_> = alternatives
        .iter()
        .flat_map(|field| match &field.shape {
            Shape::Tagged { key, variants } => {
                variants.iter().map(|variant| format!("{}={}", key.name, example(variant))).collect()
            }
            Shape::Object { key, rest, .. } => vec![with_required(format!("{}={}", key.name, key.value), rest)],
            shape => key_of(shape).map(|key| format!("{}={}", key.name, key.value)).into_iter().collect(),
        })
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    format!("give one of {}: {}", and(&names), examples.join(" or "))
}

/// The shortest way to write it.
fn example(variant: &Tagged) -> String {
    with_required(variant.name.clone(), &variant.fields)
}

fn with_required(mut text: String, fields: &[Field]) -> String {
    for field in fields {
        let key = match &field.shape {
            Shape::Variants(variants) => variants.last().map(|variant| &variant.key),
            shape => key_of(shape).filter(|key| key.is_required()),
        };
        if let Some(key) = key {
            text = format!("{text},{}", key.usage());
        }
    }
    text
}

impl Key {
    /// How it is written: `key=VALUE`, or the key alone.
    pub(super) fn usage(&self) -> String {
        match &self.kind {
            Kind::Flag => self.name.clone(),
            Kind::Switch => format!("{}=on|off", self.name),
            Kind::Choice(choices) => {
                let names: Vec<_> = choices.iter().map(|choice| choice.name.as_str()).collect();
                format!("{}={}", self.name, names.join("|"))
            }
            Kind::Number { .. } | Kind::Size | Kind::Text => format!("{}={}", self.name, self.value),
        }
    }
}

fn or_keys(keys: &[&Key]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| key.usage()).collect();
    or(&keys.iter().map(String::as_str).collect::<Vec<_>>())
}

fn or(names: &[&str]) -> String {
    listed(names, "or")
}

fn and(names: &[&str]) -> String {
    listed(names, "and")
}

fn listed(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [all @ .., end] => format!("{} {last} {end}", all.join(", ")),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
