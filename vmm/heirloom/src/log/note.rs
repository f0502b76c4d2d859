// SPDX-License-Identifier: Apache-2.0
//! What the log says about itself, in the form of its messages. Not by `tracing`: the writers behind it say it.

use std::time::SystemTime;

use serde_json::json;
use vmm::timestamp::rfc3339;

use super::LogFormat;

/// Form of such a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note(pub(super) LogFormat);

impl Note {
    /// A whole line, a warning.
    pub(super) fn line(self, text: &str) -> Vec<u8> {
        let now = rfc3339(SystemTime::now());
        let line = match self.0 {
            LogFormat::Text => format!("{now}  WARN {text}\n"),
            LogFormat::Json => {
                json!({ "timestamp": now, "level": "WARN", "message": text, "target": "heirloom::log" }).to_string()
                    + "\n"
            }
        };
        line.into_bytes()
    }
}
