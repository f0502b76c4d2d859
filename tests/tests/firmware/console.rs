// SPDX-License-Identifier: Apache-2.0
//! Somebody at the serial console of a machine: reads, and types when a text is there.

use std::io::{BufReader, Read, Write};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tests::Heirloom;

/// What was printed without its escape sequences: SeaBIOS moves the cursor in the middle of words, too.
fn plain(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    // A sequence ends with its first letter; one that has not come whole yet counts as none.
    let after = |part: &str| part.find(|c: char| c.is_ascii_alphabetic()).map(|end| part[end + 1..].to_owned());
    parts.filter_map(after).fold(first, |text, part| text + &part)
}

/// Runs the machine to its end; each of `steps` is a text that is waited for, and what is typed then. Returns the
/// whole text. `limit` is for one that hangs.
pub fn talk(run: Heirloom, steps: &[(&str, &[u8])], limit: Duration) -> Result<(ExitStatus, String), String> {
    let mut child = run.stdin(Stdio::piped()).start()?;
    let output = child.stdout.take().ok_or("no output")?;
    let mut input = child.stdin.take().ok_or("no input")?;
    let (sender, bytes) = mpsc::channel();
    thread::spawn(move || BufReader::new(output).bytes().map_while(Result::ok).try_for_each(|byte| sender.send(byte)));
    let deadline = Instant::now() + limit;
    let (mut text, mut steps) = (Vec::new(), steps.iter());
    let mut next = steps.next();
    loop {
        match bytes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(byte) => text.push(byte),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err(format!("still running after {limit:?}\n{}", plain(&text))),
        }
        if let Some((_, keys)) = next.filter(|(wanted, _)| plain(&text).contains(wanted)) {
            input.write_all(keys).and_then(|()| input.flush()).map_err(|e| e.to_string())?;
            next = steps.next();
        }
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    Ok((status, plain(&text)))
}
