// SPDX-License-Identifier: Apache-2.0
//! Configurations are checked, and their files opened, on a thread of their own: storage that does not answer must hold
//! up neither the end of the process nor, for longer than [`LIMIT`], what clients of the API ask for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use api::VmConfig;

use super::stop_request::StopRequest;
use crate::config::{self, ConfigError, Descriptors, Plan, check_outputs};
use crate::waits;

/// How long files may take to open for a request. A little less than its client waits, which is told why.
pub(super) const LIMIT: Duration = Duration::from_secs(8);
/// What takes the time where it is no file.
const OTHERWISE: &str = "checking the configuration";

/// Opens what configurations name.
#[derive(Clone)]
pub(super) struct Opener {
    /// Files that this process writes, with the options that name them.
    pub(super) outputs: Vec<(&'static str, PathBuf)>,
    /// What tells the machine from others.
    pub(super) name: Option<PathBuf>,
    /// Ends all waiting.
    pub(super) stop: Arc<StopRequest>,
}

/// A configuration with the ids and addresses that were given out, and its open files.
pub(super) type Checked = (VmConfig, Plan);

/// What ends a wait.
enum News {
    Checked(Box<Result<Checked, ConfigError>>),
    Panicked(String),
    Stop,
}

impl Opener {
    /// Checks a configuration and opens its files, which may not be among the outputs; gives up after `limit`, and
    /// when the process is to end.
    ///
    /// # Errors
    /// What is wrong with the configuration; [`ConfigError::Unanswered`].
    pub(super) fn check(
        &self,
        config: VmConfig,
        descriptors: &Descriptors,
        limit: Option<Duration>,
    ) -> Result<Checked, ConfigError> {
        let (opener, descriptors) = (self.clone(), descriptors.clone());
        let work = move || {
            let config = config::complete(config, opener.name.as_deref())?;
            let plan = Plan::check_with(&config, &descriptors)?;
            check_outputs(&plan, &opener.outputs)?;
            Ok((config, plan))
        };
        let (send, news) = mpsc::channel();
        let stopped = send.clone();
        // What is opened after all is closed with the message that nobody takes.
        let done = move |result| {
            drop(send.send(match result {
                Ok(checked) => News::Checked(Box::new(checked)),
                Err(panic) => News::Panicked(panic),
            }));
        };
        let failed = |source| ConfigError::Unanswered { what: "starting a thread".to_owned(), source };
        waits::apart(work, done).map_err(failed)?;
        self.stop.on_request(move || drop(stopped.send(News::Stop)));
        wait(&news, limit)
    }
}

fn wait(news: &mpsc::Receiver<News>, limit: Option<Duration>) -> Result<Checked, ConfigError> {
    let kind = match waits::news(news, limit, OTHERWISE) {
        Ok(News::Checked(checked)) => return *checked,
        Ok(News::Panicked(panic)) => return Err(unanswered(std::io::Error::other(panic))),
        Ok(News::Stop) => std::io::Error::other("the process is to end"),
        Err(_) => std::io::Error::new(std::io::ErrorKind::TimedOut, "the storage does not answer"),
    };
    Err(unanswered(kind))
}

fn unanswered(source: std::io::Error) -> ConfigError {
    ConfigError::Unanswered { what: waits::current_or(OTHERWISE), source }
}
