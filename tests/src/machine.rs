// SPDX-License-Identifier: Apache-2.0
//! One run of `heirloom`.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT};

use crate::host::debug_binary;

/// A run that is being put together.
pub struct Heirloom {
    command: Command,
    limit: Duration,
}

/// A run under way. It does not outlive its test, however that ends.
pub struct Running(Child);

impl Deref for Running {
    type Target = Child;
    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Running {
    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        let sent = rustix::process::kill_process(Pid::from_child(&self.0), signal);
        sent.map_err(|error| format!("cannot send {signal:?}: {error}"))
    }
}

/// What a run says on standard error, line by line.
pub struct Messages(mpsc::Receiver<String>);

impl Messages {
    /// Waits for a line with `text`. The limit is a safety net, not a measure.
    pub fn wait_for(&self, text: &str, limit: Duration) -> Result<String, String> {
        let (deadline, mut others) = (Instant::now() + limit, String::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.0.recv_timeout(left) {
                Ok(line) if line.contains(text) => return Ok(line),
                Ok(line) => others += &line,
                Err(error) => return Err(format!("no message '{text}' ({error}), but\n{others}")),
            }
        }
    }

    /// All that comes until the end of the run.
    pub fn rest(&self) -> String {
        self.0.iter().collect()
    }
}

impl Running {
    /// Its standard error, from here on.
    pub fn messages(&mut self) -> Result<Messages, String> {
        let stderr = self.0.stderr.take().ok_or("standard error is somebody else's")?;
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|count| count > 0)
                && send.send(std::mem::take(&mut line)).is_ok()
            {}
        });
        Ok(Messages(lines))
    }

    /// Waits for its end. The limit is a safety net, not a measure.
    pub fn end(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let mut status = None;
        crate::wait_until(limit, || {
            status = self.0.try_wait().ok().flatten();
            status.is_some()
        })?;
        status.ok_or_else(|| "it has not ended".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for one that has ended and been waited for, which is as it should be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// What was run.
    command: String,
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output: the guest's console, and the report where it goes to `-`.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The program ignores what whoever starts it ignores, and so would tests' children under nohup or as a job in the
/// background of a script. A signal with a handler is an ordinary one for a child.
static SIGNALS_ARE_NOT_IGNORED: LazyLock<()> = LazyLock::new(|| {
    let ignored = signal_mask(std::process::id(), "SigIgn").unwrap_or(0);
    for signal in [SIGHUP, SIGINT, SIGQUIT].into_iter().filter(|signal| ignored & 1 << (signal - 1) != 0) {
        // Where that fails the tests that send the signal say so.
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
});

/// A mask of signals in the status of a process (proc(5)).
pub fn signal_mask(pid: u32, name: &str) -> Result<u64, String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|e| e.to_string())?;
    vmm::signals::mask(&status, name).ok_or_else(|| format!("/proc/{pid}/status has no {name}"))
}

/// `HEIRLOOM_BIN`, else built now: a test of an old binary says nothing.
static BINARY: LazyLock<Result<PathBuf, String>> = LazyLock::new(|| match env::var_os("HEIRLOOM_BIN") {
    Some(path) => Ok(path.into()),
    None => debug_binary(),
});

/// The program under test.
pub fn binary() -> Result<&'static Path, String> {
    BINARY.as_ref().map(PathBuf::as_path).map_err(String::clone)
}

impl Heirloom {
    /// `heirloom run` with these words.
    pub fn run(words: &[&str]) -> Self {
        Self::plain(&[&["run"], words].concat())
    }

    /// `heirloom` with these words.
    pub fn plain(words: &[&str]) -> Self {
        LazyLock::force(&SIGNALS_ARE_NOT_IGNORED);
        // A binary that does not build is an error of `start`.
        let mut command = Command::new(BINARY.as_ref().map_or(Path::new(""), PathBuf::as_path));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, limit: Duration::from_secs(120) }
    }

    /// `heirloom run` with these words under a limit, as `ulimit` takes it.
    pub fn limited(limit: &str, words: &[&str]) -> Self {
        let mut run = Self::run(&[]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limit}; exec \"$@\""), "sh"]).arg(run.command.get_program());
        command.arg("run").args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        run.command = command;
        run
    }

    /// The same, started by somebody who ignores a signal, as nohup ignores HUP.
    pub fn ignoring(mut self, signal: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("trap '' {signal}; exec \"$@\""), "sh"]);
        command.arg(self.command.get_program()).args(self.command.get_args());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// The same with a terminal of its own, which script(1) makes and hands on to input and output.
    pub fn on_a_terminal(mut self) -> Self {
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let quoted = words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")));
        let line = quoted.collect::<Vec<_>>().join(" ");
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("SHELL", "/bin/sh");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// One more word.
    pub fn arg(mut self, word: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    /// More words.
    pub fn args(mut self, words: &[&str]) -> Self {
        self.command.args(words);
        self
    }

    /// Kills the run after this time and fails. A safety net, not a measure.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Standard input comes from there.
    pub fn stdin(mut self, input: Stdio) -> Self {
        self.command.stdin(input);
        self
    }

    /// Standard error goes there, and not into [`Finished`].
    pub fn stderr(mut self, file: std::fs::File) -> Self {
        self.command.stderr(file);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Result<Running, String> {
        let binary = binary()?;
        let child = self.command.spawn().map_err(|e| format!("cannot start {}: {e}", binary.display()))?;
        Ok(Running(child))
    }

    /// Runs it to its end.
    pub fn finish(self) -> Result<Finished, String> {
        let limit = self.limit;
        let words = self.command.get_args().map(|word| word.to_string_lossy());
        let command = words.fold("heirloom".to_owned(), |line, word| line + " " + &word);
        let mut child = self.start()?;
        let stdout = reader(child.stdout.take());
        let stderr = reader(child.stderr.take());
        let deadline = Instant::now() + limit;
        let status = loop {
            match child.try_wait().map_err(|e| e.to_string())? {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    let _ = child.kill();
                    let _ = child.wait();
                    let (out, err) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
                    return Err(format!("{command}: still running after {limit:?}\nstdout:\n{out}\nstderr:\n{err}"));
                }
                None => thread::sleep(Duration::from_millis(20)), // Clock: between two looks.
            }
        };
        Ok(Finished {
            command,
            code: status.code(),
            stdout: stdout.join().unwrap_or_default(),
            stderr: stderr.join().unwrap_or_default(),
        })
    }
}

/// Reads all of a stream, on a thread of its own.
pub(crate) fn reader(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What came before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Finished {
    /// Fails unless the exit code is `code`.
    pub fn expect_code(self, code: i32) -> Result<Self, String> {
        if self.code == Some(code) { Ok(self) } else { Err(format!("exit code {:?}, not {code}\n{self}", self.code)) }
    }

    /// Fails unless `text` was printed on standard output.
    pub fn expect_output(self, text: &str) -> Result<Self, String> {
        if self.stdout.contains(text) { Ok(self) } else { Err(format!("'{text}' was not printed\n{self}")) }
    }

    /// Fails unless `text` was printed on standard error.
    pub fn expect_error(self, text: &str) -> Result<Self, String> {
        if self.stderr.contains(text) { Ok(self) } else { Err(format!("'{text}' is not in the messages\n{self}")) }
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nstdout:\n{}\nstderr:\n{}", self.command, self.stdout, self.stderr)
    }
}
