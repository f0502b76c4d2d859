// SPDX-License-Identifier: Apache-2.0
//! Collects results. It looks at nothing.

use api::types::{ProbeCheck, ProbeReport, ProbeResult};

/// Results so far, and which function the next ones are about.
#[derive(Debug, Default)]
pub(super) struct Checks {
    done: Vec<ProbeCheck>,
    function: Option<String>,
}

impl Checks {
    /// What follows is about this function.
    pub(super) fn about(&mut self, function: impl ToString) {
        self.function = Some(function.to_string());
    }

    pub(super) fn pass(&mut self, name: &str, detail: impl Into<String>) {
        self.add(name, ProbeResult::Pass, detail.into(), None);
    }

    pub(super) fn warn(&mut self, name: &str, detail: impl Into<String>, fix: impl Into<String>) {
        self.add(name, ProbeResult::Warn, detail.into(), Some(fix.into()));
    }

    pub(super) fn fail(&mut self, name: &str, detail: impl Into<String>, fix: impl Into<String>) {
        self.add(name, ProbeResult::Fail, detail.into(), Some(fix.into()));
    }

    pub(super) fn unknown(&mut self, name: &str, detail: impl Into<String>, fix: Option<&str>) {
        self.add(name, ProbeResult::Unknown, detail.into(), fix.map(str::to_owned));
    }

    fn add(&mut self, name: &str, result: ProbeResult, detail: String, fix: Option<String>) {
        self.done.push(ProbeCheck { name: name.to_owned(), function: self.function.clone(), result, detail, fix });
    }

    /// The results of each function together, in the order in which functions were come to.
    pub(super) fn report(mut self) -> ProbeReport {
        let mut functions: Vec<Option<String>> = Vec::new();
        for check in &self.done {
            if !functions.contains(&check.function) {
                functions.push(check.function.clone());
            }
        }
        self.done.sort_by_key(|check| functions.iter().position(|function| *function == check.function));
        let usable = self.done.iter().all(|check| check.result != ProbeResult::Fail);
        ProbeReport { usable, checks: self.done }
    }
}

/// An error with its causes, as one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
