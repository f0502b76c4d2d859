// SPDX-License-Identifier: Apache-2.0
//! A text into keys and values. What they mean is not known here.

/// One entry of a list: a key with its value, or alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: Option<String>,
}

/// Entries that nobody has taken yet, in the order of the text, each key once.
#[derive(Debug)]
pub(super) struct Pairs(Vec<Pair>);

impl Pairs {
    /// Splits `text` at commas; two commas in a row stand for one comma in a value.
    pub(super) fn split(text: &str) -> Result<Self, String> {
        let mut pairs: Vec<Pair> = Vec::new();
        for part in split_at_single_commas(text) {
            let (key, value) = part.split_once('=').map_or((part.as_str(), None), |(key, value)| (key, Some(value)));
            let pair = Pair { key: key.trim().to_owned(), value: value.map(str::to_owned) };
            if pair.key.is_empty() {
                return Err(
                    "there is an empty entry: write key=value,key=value (a comma inside a value is written twice)"
                        .to_owned(),
                );
            }
            if pairs.iter().any(|other| other.key == pair.key) {
                return Err(format!("the key '{}' is given twice", pair.key));
            }
            pairs.push(pair);
        }
        Ok(Self(pairs))
    }

    /// Takes the entry with this key.
    pub(super) fn take(&mut self, key: &str) -> Option<Pair> {
        let position = self.0.iter().position(|pair| pair.key == key)?;
        Some(self.0.remove(position))
    }

    /// Takes the first entry if it is a word without a value.
    pub(super) fn take_head(&mut self) -> Option<String> {
        match self.0.first() {
            Some(Pair { value: None, .. }) => Some(self.0.remove(0).key),
            _ => None,
        }
    }

    /// A key that nobody took.
    pub(super) fn rest(&self) -> Option<&str> {
        self.0.first().map(|pair| pair.key.as_str())
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
