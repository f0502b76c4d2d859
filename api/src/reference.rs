// SPDX-License-Identifier: Apache-2.0
//! docs/api.md, made of the table of routes and a text around it. Pure.

use std::fmt::{self, Write};

use crate::routes::{Content, Route};
use crate::service::routes;
use crate::state::VmState;
use crate::{Code, compat};

/// What stands around the tables.
const HEAD: &str = include_str!("reference_head.md");
const TAIL: &str = include_str!("reference_tail.md");

/// The whole file.
pub(crate) fn markdown() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut text);
    text
}

fn write_all(out: &mut String) -> fmt::Result {
    out.write_str(HEAD)?;
    overview(out)?;
    writeln!(out, "\n## States\n")?;
    states(out)?;
    writeln!(out, "\n## Operations")?;
    routes().try_for_each(|route| write_route(out, route))?;
    errors(out)?;
    foreign(out)?;
    out.write_str(TAIL)
}

fn overview(out: &mut String) -> fmt::Result {
    writeln!(out, "| request | | body | reply | when the machine is |\n| --- | --- | --- | --- | --- |")?;
    for route in routes() {
        let body = route.input.body.map_or(String::new(), |body| format!("`{}`", (body.name)()));
        let replies: Vec<_> =
            route.output.successes.iter().map(|s| format!("{}{}", s.status, content(s.content))).collect();
        writeln!(
            out,
            "| [{} {}](#{}) | {} | {body} | {} | {} |",
            route.method.name(),
            route.path,
            anchor(route),
            route.words.summary,
            replies.join(", "),
            route.states()
        )?;
    }
    Ok(())
}

fn content(content: Content) -> String {
    match content {
        Content::Empty => String::new(),
        Content::Json(body) => format!(" `{}`", (body.name)()),
        Content::Document => " JSON".to_owned(),
        Content::Text(_) => " text".to_owned(),
        Content::Lines(_) => " lines of JSON".to_owned(),
    }
}

/// As Markdown renderers make it of the heading: lower case, punctuation dropped.
fn anchor(route: &Route) -> String {
    let heading = format!("{} {}", route.method.name(), route.path).to_lowercase();
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || "- _".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Every state against every route that is not for any state.
fn states(out: &mut String) -> fmt::Result {
    write!(out, "| |")?;
    VmState::ALL.iter().try_for_each(|state| write!(out, " {state} |"))?;
    writeln!(out, "\n| --- |{}", " --- |".repeat(VmState::ALL.len()))?;
    for route in routes().filter(|route| !route.states().is_any()) {
        write!(out, "| {} |", route.name())?;
        for state in VmState::ALL {
            match route.check_state(state) {
                Ok(()) => write!(out, " yes |")?,
                Err(fault) => write!(out, " {} |", fault.status())?,
            }
        }
        writeln!(out)?;
    }
    writeln!(out, "\nEvery other operation works in any state, and without a virtual machine (NotCreated).")
}

fn write_route(out: &mut String, route: &Route) -> fmt::Result {
    writeln!(out, "\n### {} {}\n\n{}. {}", route.method.name(), route.path, route.words.summary, route.words.text)?;
    for parameter in route.input.parameters {
        writeln!(out, "\nParameter `{}`: {} Example: `{}`.", parameter.name, parameter.text, parameter.example)?;
    }
    for (summary, example) in route.input.body.iter().flat_map(|body| body.examples) {
        let summary = if summary.is_empty() { "Body" } else { summary };
        writeln!(out, "\n{summary}:\n\n```json\n{example}\n```")?;
    }
    writeln!(out, "\n| status | |\n| --- | --- |")?;
    for success in route.output.successes {
        writeln!(out, "| {}{} | {} |", success.status, content(success.content), success.text)?;
    }
    for group in route.codes().chunk_by(|a, b| a.status() == b.status()) {
        let names: Vec<_> = group.iter().map(|code| format!("`{}`", code.name())).collect();
        writeln!(out, "| {} | {} |", group.first().map_or(0, |code| code.status()), names.join(", "))?;
    }
    for success in route.output.successes {
        let (Content::Json(body) | Content::Lines(body)) = success.content else { continue };
        for (summary, example) in body.examples {
            let summary = if summary.is_empty() { "Reply" } else { summary };
            writeln!(out, "\n{summary}:\n\n```json\n{example}\n```")?;
        }
    }
    Ok(())
}

fn errors(out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "\n## Errors\n\nEvery reply with a status of 400 and above carries one object:\n\n```json\n\
         {{\"fault_message\": \"cpus.boot_vcpus: 65 processors: must be 1 to 64\", \"code\": \"invalid_field\", \
         \"causes\": [], \"field\": \"cpus.boot_vcpus\"}}\n```\n\n\
         `fault_message` is for people, `code` for programs; `causes` has what lies behind it, nearest cause at the \
         front; `field` names the field or parameter that is to blame, or is null.\n\n\
         | code | status | meaning |\n| --- | --- | --- |"
    )?;
    Code::ALL
        .iter()
        .try_for_each(|code| writeln!(out, "| `{}` | {} | {} |", code.name(), code.status(), code.meaning()))
}

fn foreign(out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "\n## Fields of Cloud Hypervisor\n\nA `VmConfig` written for Cloud Hypervisor is taken if it asks for nothing \
         that Heirloom lacks. These fields are known; any other value of them is refused as `unsupported_field` with \
         the field's name, and a field that is not here and not Heirloom's own is refused as `invalid_field`.\n\n\
         | field | taken | |\n| --- | --- | --- |"
    )?;
    for field in compat::FOREIGN {
        writeln!(out, "| `{}` | {} | {} |", field.path(), field.taken(), field.note)?;
    }
    for (object, field, theirs, ours) in compat::SYNONYMS {
        writeln!(out, "| `{object}.{field}` | `{theirs}` | the same as `{ours}` |")?;
    }
    Ok(())
}
