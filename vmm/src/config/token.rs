// SPDX-License-Identifier: Apache-2.0
//! VF tokens as they are configured: a UUID; `@FILE`, which has it; or `env:NAME`, a variable of the environment that has
//! it. A token is a secret of PF and VFs, and everybody on the host can read the words that a process was started with.
//! Its files and environment are its user's.

use std::io;
use std::path::{Path, PathBuf};

use devices::function::vfio::VfToken;
use thiserror::Error;

use super::payload::read_at_most;

/// Bytes of a file that are looked at: a UUID has 36.
const MOST: u64 = 64;

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The text is none.
    #[error(
        "token={text}: not a UUID, such as bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3, nor @FILE or env:NAME; make one with: \
         uuidgen"
    )]
    Text {
        /// As it was given.
        text: String,
    },
    /// The file cannot be read.
    #[error("token=@{}: cannot read the file: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The variable is not there, or has something else. What, is not told.
    #[error("token=env:{name}: the environment of heirloom has no variable {name} with a UUID: export it")]
    Variable {
        /// Its name.
        name: String,
    },
    /// The file has something else. What, is not told: it may be a secret.
    #[error("token=@{}: the file has no UUID on its first line; make one with: uuidgen", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// The token that `text` is or names.
///
/// # Errors
/// When it is none.
pub fn read_token(text: &str) -> Result<VfToken, TokenError> {
    if let Some(name) = text.strip_prefix("env:") {
        return of_variable(name, std::env::var(name).ok());
    }
    let Some(path) = text.strip_prefix('@').map(Path::new) else {
        return text.parse().map_err(|_| TokenError::Text { text: text.to_owned() });
    };
    let path = path.to_owned();
    match read_at_most(&path, MOST) {
        Ok(bytes) => {
            let first = std::str::from_utf8(&bytes).ok().and_then(|text| text.lines().next());
            let token = first.and_then(|line| line.trim().parse().ok());
            token.ok_or(TokenError::Content { path })
        }
        Err(source) => Err(TokenError::Read { path, source }),
    }
}

fn of_variable(name: &str, value: Option<String>) -> Result<VfToken, TokenError> {
    let token = value.and_then(|value| value.trim().parse().ok());
    token.ok_or_else(|| TokenError::Variable { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    #[test]
    fn f23_a_token_may_be_in_a_file() {
        let folder = tempfile::TempDir::new().unwrap();
        let uuid = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
        let path = folder.path().join("token");
        let named = format!("@{}", path.display());
        let said = || read_token(&named).unwrap_err().to_string();
        assert!(said().contains("cannot read the file: No such file"));
        for text in [uuid.to_owned(), format!("{uuid}\n"), format!(" {uuid} \r\nmore")] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_token(&named).unwrap().to_string(), uuid);
        }
        fs::write(&path, "a password").unwrap();
        assert!(said().ends_with("the file has no UUID on its first line; make one with: uuidgen"), "{}", said());
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(said().contains("it is not a regular file"));
        assert_eq!(read_token(uuid).unwrap().to_string(), uuid);
        assert!(read_token("abc").unwrap_err().to_string().starts_with("token=abc: not a UUID"));
    }

    #[test]
    fn f23_a_token_may_be_in_a_variable() {
        let uuid = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
        assert_eq!(of_variable("T", Some(format!(" {uuid}\n"))).unwrap().to_string(), uuid);
        for value in [None, Some(String::new()), Some("a password".to_owned())] {
            let said = of_variable("T", value).unwrap_err().to_string();
            assert_eq!(said, "token=env:T: the environment of heirloom has no variable T with a UUID: export it");
        }
        assert!(matches!(read_token("env:HEIRLOOM_NO_SUCH_VARIABLE"), Err(TokenError::Variable { .. })));
    }
}
