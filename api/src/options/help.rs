// SPDX-License-Identifier: Apache-2.0
//! The keys of an option for people: as lines for `--help`, and as a table for docs/operation.md.

use serde_json::Value;

use super::schema::{Field, Key, Kind, Shape};
use crate::format_size;

/// Where texts begin, and where lines end, in characters.
const TEXT_AT: usize = 21;
const LINE_END: usize = 100;

/// One key in its place.
struct Row<'a> {
    key: &'a Key,
    /// How the key is written.
    usage: String,
    text: String,
    depth: usize,
    /// The key and value that it belongs to.
    whose: String,
    /// There are keys that belong to it.
    has_keys: bool,
}

/// The keys for `--help`.
pub(super) fn text(shape: &Shape) -> String {
    rows(shape).iter().map(|row| lines(row)).collect()
}

/// The keys as a table in Markdown.
pub(super) fn markdown(shape: &Shape) -> String {
    let mut text = "| key | values | default | |\n| --- | --- | --- | --- |\n".to_owned();
    for row in rows(shape) {
        let key = row.key;
        let name = if row.has_keys || key.name.is_empty() { &row.usage } else { &key.name };
        let default = match (default(key), key.is_required()) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        let whose = if row.whose.is_empty() { String::new() } else { format!("`{}`. ", row.whose) };
        let values = if row.has_keys && matches!(key.kind, Kind::Choice(_)) { String::new() } else { values(key) };
        let choices: Vec<_> =
            choices(&row).iter().map(|choice| format!(" `{}`: {}.", choice.name, plain(&choice.text))).collect();
        let note = format!("{whose}{}{}", row.text, choices.concat()).replace('|', "\\|");
        text.push_str(&format!("| `{name}` | {values} | {default} | {note} |\n"));
    }
    text
}

fn rows(shape: &Shape) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    add(shape, 0, "", &mut rows);
    rows
}

fn add<'a>(shape: &'a Shape, depth: usize, whose: &str, rows: &mut Vec<Row<'a>>) {
    let row = |key: &'a Key, usage: String, text: &str, has_keys| Row {
        key,
        usage,
        text: text.to_owned(),
        depth,
        whose: whose.to_owned(),
        has_keys,
    };
    match shape {
        Shape::Fields(fields) => add_fields(fields, depth, whose, rows),
        Shape::Value(key) => rows.push(row(key, key.usage(), &key.text, false)),
        Shape::Variants(variants) => {
            rows.extend(variants.iter().map(|v| row(&v.key, v.key.usage(), &v.key.text, false)));
        }
        // Without a key it is what the list begins with.
        Shape::Object { key, rest, .. } if key.name.is_empty() => {
            rows.push(row(key, key.value.clone(), "Comes first, without a key.", false));
            add_fields(rest, depth, whose, rows);
        }
        Shape::Object { key, rest, .. } => {
            rows.push(row(key, key.usage(), &key.text, true));
            add_fields(rest, depth + 1, &key.name, rows);
        }
        Shape::Tagged { key, variants } => {
            for variant in variants {
                let usage = match key.name.as_str() {
                    "" => variant.name.clone(),
                    name => format!("{name}={}", variant.name),
                };
                let text = match key.name.as_str() {
                    "" => variant.text.clone(),
                    _ => format!("{} {}", key.text, variant.text),
                };
                rows.push(row(key, usage.clone(), &text, true));
                add_fields(&variant.fields, depth + 1, &usage, rows);
            }
        }
    }
}

fn add_fields<'a>(fields: &'a [Field], depth: usize, whose: &str, rows: &mut Vec<Row<'a>>) {
    fields.iter().for_each(|field| add(&field.shape, depth, whose, rows));
}

/// A row with its text beside or below it, wrapped.
fn lines(row: &Row<'_>) -> String {
    let indent = 2 + 2 * row.depth;
    let mut facts: Vec<String> = Vec::new();
    facts.extend(row.key.is_required().then(|| "required".to_owned()).filter(|_| !row.has_keys));
    facts.extend(default(row.key).map(|default| format!("default {default}")));
    if let Kind::Number { min, max } = row.key.kind {
        facts.push(format!("{min}-{max}"));
    }
    let mut text = plain(&row.text).to_owned();
    if !facts.is_empty() {
        text = format!("{text} ({})", facts.join(", "));
    }
    let mut out = format!("{:indent$}{}", "", row.usage);
    let at = TEXT_AT + 2 * row.depth;
    out.push_str(if out.chars().count() + 2 > at { "\n" } else { "" });
    wrap(&mut out, &text, at);
    for choice in choices(row) {
        wrap(&mut out, &format!("{}: {}", choice.name, plain(&choice.text)), at);
    }
    out
}

/// Appends words from column `at` on; the last line of `out` may have begun before that column.
fn wrap(out: &mut String, text: &str, at: usize) {
    let mut column = out.rsplit('\n').next().map_or(0, |line| line.chars().count());
    let mut begun = false;
    // Quotes are for Markdown.
    for word in text.replace('`', "").split_whitespace() {
        if begun && column + 1 + word.chars().count() > LINE_END {
            out.push('\n');
            (column, begun) = (0, false);
        }
        let gap = if begun { 1 } else { at.saturating_sub(column) };
        out.extend(std::iter::repeat_n(' ', gap));
        out.push_str(word);
        column += gap + word.chars().count();
        begun = true;
    }
    out.push('\n');
}

fn choices<'a>(row: &Row<'a>) -> &'a [super::schema::Choice] {
    match &row.key.kind {
        Kind::Choice(choices) if !row.has_keys => choices,
        _ => &[],
    }
}

fn default(key: &Key) -> Option<String> {
    match (key.default()?, &key.kind) {
        (Value::Bool(on), _) => Some(if *on { "on" } else { "off" }.to_owned()),
        (Value::Number(number), Kind::Size) => number.as_u64().map(format_size),
        (Value::String(text), _) => Some(text.clone()),
        (value, _) => Some(value.to_string()),
    }
}

/// What can be given, in Markdown.
fn values(key: &Key) -> String {
    match &key.kind {
        Kind::Flag => "the key alone".to_owned(),
        Kind::Switch if key.default() == Some(&Value::Bool(true)) => "`on`, `off`".to_owned(),
        Kind::Switch => "`on`, `off`, or the key alone".to_owned(),
        Kind::Number { min, max } => format!("{min} to {max}"),
        Kind::Choice(choices) => {
            choices.iter().map(|choice| format!("`{}`", choice.name)).collect::<Vec<_>>().join(", ")
        }
        Kind::Size | Kind::Text => key.value.clone(),
    }
}

fn plain(text: &str) -> &str {
    text.trim_end_matches('.')
}
