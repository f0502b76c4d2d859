// SPDX-License-Identifier: Apache-2.0
//! For tests: an [`AdminChannel`] that answers as it is told, and keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wire::Request;
use super::{AdminChannel, AdminError, Command};
use crate::contract::Wait;

/// A command as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Header and data.
    pub(crate) request: Vec<u8>,
    /// Bytes that the device may write behind the status.
    pub(crate) room: usize,
}

/// The channel. Where it is told nothing, each command succeeds with a result of zeros.
#[derive(Debug, Default)]
pub(crate) struct MockChannel {
    script: Mutex<VecDeque<Result<Vec<u8>, AdminError>>>,
    sent: Mutex<Vec<Sent>>,
    delay: Duration,
}

impl MockChannel {
    /// One whose commands take `delay`.
    pub(crate) fn late(delay: Duration) -> Arc<Self> {
        Arc::new(Self { delay, ..Self::default() })
    }

    /// How the next commands end: the result, as long as the command has room for it, or the error.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = Result<Vec<u8>, AdminError>>) {
        *self.script.lock().unwrap() = answers.into_iter().collect();
    }

    /// Takes what was sent.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }
}

impl AdminChannel for MockChannel {
    fn execute(&self, command: &Command<'_>, result: &mut [u8], _: &Wait<'_>) -> Result<(), AdminError> {
        let request = Request::encode(command).unwrap().as_bytes().to_vec();
        self.sent.lock().unwrap().push(Sent { request, room: result.len() });
        std::thread::sleep(self.delay); // Clock: the time that is measured.
        let Some(answer) = self.script.lock().unwrap().pop_front() else { return Ok(()) };
        answer.map(|bytes| result.copy_from_slice(&bytes))
    }
}
