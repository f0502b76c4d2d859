// SPDX-License-Identifier: Apache-2.0
//! What was done to a PF, for people and for programs.

use std::fmt;

use serde::Serialize;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Action {
    /// What is now.
    pub what: String,
    /// Shell command that undoes it.
    pub undo: String,
}

/// What became of a PF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Outcome {
    /// Its address.
    pub pf: String,
    /// Nothing was done, this is what would be.
    pub dry_run: bool,
    /// Changes in their order; none if all was as wanted.
    pub actions: Vec<Action>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// Options of `heirloom run`, one for each VF.
    pub legacy_virtio: Vec<String>,
    /// Command that undoes all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            writeln!(f, "{}: nothing to do", self.pf)?;
        } else if self.dry_run {
            writeln!(f, "{}: this would be done; nothing was", self.pf)?;
        }
        for action in &self.actions {
            writeln!(
                f,
                "{} {}\n      undo: {}",
                if self.dry_run { "plan " } else { "done " },
                action.what,
                action.undo
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note  {note}"))?;
        if !self.legacy_virtio.is_empty() {
            writeln!(f, "\nA guest gets a VF by one of these options of heirloom run:")?;
            self.legacy_virtio.iter().try_for_each(|option| writeln!(f, "  {option}"))?;
        }
        match &self.undo {
            Some(undo) => writeln!(f, "\nAll of it is undone by: {undo}"),
            None => Ok(()),
        }
    }
}
