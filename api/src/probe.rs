// SPDX-License-Identifier: Apache-2.0
//! What a probe of the host says: a list of preconditions and how each came out.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeReport {
    /// No check failed.
    pub usable: bool,
    /// The checks, in the order in which they depend on one another.
    pub checks: Vec<ProbeCheck>,
}

/// One precondition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProbeCheck {
    /// What is looked at: `kvm`, `iommu`, `vf_bar0`.
    pub name: String,
    /// The function that it is about, if it is about one: `0000:41:00.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// How it came out.
    pub result: ProbeResult,
    /// What was seen.
    pub detail: String,
    /// What to do about it.
    #[serde(default)]
    pub fix: Option<String>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeResult {
    /// As it must be.
    Pass,
    /// It works, and less well than it could.
    Warn,
    /// It cannot work like this.
    Fail,
    /// It could not be found out.
    Unknown,
}

impl fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
            Self::Unknown => "unknown",
        })
    }
}

/// One line for each check, the fix on a line of its own.
impl fmt::Display for ProbeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut function = None;
        for check in &self.checks {
            if check.function != function {
                function.clone_from(&check.function);
                writeln!(f, "\n{}", function.as_deref().unwrap_or("host"))?;
            }
            writeln!(f, "{:<7} {:<15} {}", check.result, check.name, check.detail)?;
            if let Some(fix) = &check.fix {
                writeln!(f, "{:<23} -> {fix}", "")?;
            }
        }
        let count = |result| self.checks.iter().filter(|check| check.result == result).count();
        let (fail, warn, unknown) = (count(ProbeResult::Fail), count(ProbeResult::Warn), count(ProbeResult::Unknown));
        let verdict = if self.usable { "usable" } else { "not usable" };
        writeln!(f, "\n{verdict}: {fail} failed, {warn} warnings, {unknown} unknown, of {} checks", self.checks.len())
    }
}

/// What is to be probed beside the host itself. Addresses are as the client wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProbeWhat {
    /// Nothing.
    #[default]
    Host,
    /// The function of this address or path, a VF or not.
    Path(String),
    /// The VF of this address.
    Vf(String),
    /// The PF of this address.
    Pf(String),
}
