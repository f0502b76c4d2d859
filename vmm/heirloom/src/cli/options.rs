// SPDX-License-Identifier: Apache-2.0
//! `key=value,key=value` lists, with errors that name the key and what would be right.

use std::collections::BTreeMap;

/// A parsed list. What is not taken out of it by the time of [`Options::finish`] is an unknown key.
#[derive(Debug)]
pub struct Options {
    values: BTreeMap<String, Option<String>>,
    taken: Vec<&'static str>,
}

impl Options {
    /// Splits `text` at commas; two commas in a row stand for one comma in a value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for part in split_at_single_commas(text) {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key.trim().to_owned(), Some(value.to_owned())),
                None => (part.trim().to_owned(), None),
            };
            if key.is_empty() {
                return Err(
                    "there is an empty entry: write key=value,key=value (a comma inside a value is written twice)"
                        .to_owned(),
                );
            }
            if values.insert(key.clone(), value).is_some() {
                return Err(format!("the key '{key}' is given twice"));
            }
        }
        Ok(Self { values, taken: Vec::new() })
    }

    /// Takes the value of `key`, if the key is there. A key without a value is an error.
    pub fn value(&mut self, key: &'static str) -> Result<Option<String>, String> {
        self.taken.push(key);
        match self.values.remove(key) {
            Some(Some(value)) if !value.is_empty() => Ok(Some(value)),
            Some(_) => Err(format!("the key '{key}' needs a value: {key}=...")),
            None => Ok(None),
        }
    }

    /// Takes a value and parses it; the error names the key.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.value(key)?.map(|text| parse(&text).map_err(|e| format!("{key}={text}: {e}"))).transpose()
    }

    /// Takes a switch: `key`, `key=on` or `key=off`; off where it is absent.
    pub fn switch(&mut self, key: &'static str) -> Result<bool, String> {
        self.taken.push(key);
        match self.values.remove(key) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(value)) => match value.as_str() {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err(format!("{key}={value}: must be on or off")),
            },
        }
    }

    /// Ends the parsing: whatever is left is unknown.
    pub fn finish(self) -> Result<(), String> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("unknown key '{key}'; the keys here are {}", self.taken.join(", "))),
        }
    }
}

fn split_at_single_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ',' && chars.next_if_eq(&',').is_none() {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}
