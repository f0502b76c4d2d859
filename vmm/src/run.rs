// SPDX-License-Identifier: Apache-2.0
//! `heirloom run`: machines one after the other, until the guest or the operator has enough.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{process, thread};

use api::ConsoleMode;
use event_manager::{EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use thiserror::Error;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::cli::{ReportTarget, RunArgs};
use crate::config::{ConfigError, Plan, check_outputs};
use crate::console::Console;
use crate::machine::{Loop, Machine, SerialOutput, SetupError};
use crate::report::{self, Report};
use crate::signals;
use crate::terminal::{self, RawTerminal};
use crate::vcpu::{CrashReport, ExitReason};

/// How long an end that the operator wants may take; by then nobody but us can be to blame, or who does
/// not read the report. Longer than a machine may take to stop.
const END_LIMIT: Duration = Duration::from_secs(15);
/// What the message about that may take: standard error may be what is stuck.
const LAST_WORDS_LIMIT: Duration = Duration::from_millis(200);

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// The guest powered itself off.
    PoweredOff,
    /// The guest reset itself, and was not to be started again.
    Reset,
    /// The guest crashed.
    Crashed(Arc<CrashReport>),
    /// Ctrl-A X.
    Left,
    /// A signal.
    Signal(i32),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff => write!(f, "the guest powered itself off"),
            Self::Reset => write!(f, "the guest reset itself"),
            Self::Crashed(report) => write!(f, "the guest crashed: {}", report.cause),
            Self::Left => write!(f, "ended from the console"),
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
        }
    }
}

impl Ended {
    /// The exit code that tells so. `--help` promises these.
    pub fn code(&self) -> u8 {
        match self {
            Self::PoweredOff => 0,
            Self::Crashed(_) => 4,
            Self::Left => 5,
            Self::Reset => 6,
            Self::Signal(signal) => 128u8.wrapping_add(*signal as u8),
        }
    }
}

/// A run that came to an end.
#[derive(Debug)]
pub struct Finished {
    /// How.
    pub ended: Ended,
    /// Whether the report could be written. What the guest did is known without it.
    pub report: Result<(), RunError>,
}

/// Why a run did not come to such an end.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration is none.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine cannot be put together, or its main loop failed.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The report has nowhere to go.
    #[error("cannot write the report to {path}")]
    Report {
        /// Path, or "standard output".
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What the operator wants: nothing yet, a signal's number, or [`LEAVE`].
struct Wish {
    what: AtomicI32,
    event: EventFd,
}

const LEAVE: i32 = -1;

impl Wish {
    fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { what: AtomicI32::new(0), event: EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)? }))
    }

    /// The wish that comes first counts.
    fn make(&self, what: i32) {
        if self.what.compare_exchange(0, what, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if let Some(ended) = self.granted() {
            end_in_time(ended);
        }
        if let Err(error) = self.event.write(1) {
            tracing::error!("cannot wake the main loop: {error}");
        }
    }

    fn granted(&self) -> Option<Ended> {
        match self.what.load(Ordering::Relaxed) {
            0 => None,
            LEAVE => Some(Ended::Left),
            signal => Some(Ended::Signal(signal)),
        }
    }
}

/// Ends the process if it does not end by itself, be it that nobody reads the pipe that the report or a
/// message goes to. The operator's wish for an end is not to be repeated with SIGKILL.
fn end_in_time(ended: Ended) {
    let watch = move || {
        thread::sleep(END_LIMIT);
        terminal::restore();
        // On yet another thread, as it may wait for ever.
        let _ = thread::Builder::new().spawn(|| {
            let _ = writeln!(io::stderr(), "heirloom: the end took more than {END_LIMIT:?}, what is left is given up");
        });
        thread::sleep(LAST_WORDS_LIMIT);
        process::exit(ended.code().into())
    };
    if let Err(error) = thread::Builder::new().name("end-in-time".to_owned()).spawn(watch) {
        tracing::warn!("nothing watches how long the end takes: {error}");
    }
}

/// Wakes the main loop for a wish.
struct WishWatch(Arc<Wish>);

impl MutEventSubscriber for WishWatch {
    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        // Only the wake-up counts; what is wanted is in the wish.
        let _ = self.0.event.read();
    }

    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.0.event, EventSet::IN)) {
            tracing::error!("cannot watch for the end: {error:?}");
        }
    }
}

/// Runs a guest to its end and writes the report.
///
/// # Errors
/// When there is no machine, or no report. Nothing has been created on the first kind.
pub fn run(args: &RunArgs) -> Result<Finished, RunError> {
    let plan = Plan::check(&args.config())?;
    let targets = args.reports();
    let files: Vec<_> = targets.iter().filter_map(|target| target.file.as_deref()).collect();
    check_outputs(&plan, &files)?;
    for target in &targets {
        report::check_target(target)
            .map_err(|(path, source)| RunError::Report { path: path.display().to_string(), source })?;
    }
    let mut report = Report::default();
    let ended = Session::new(&plan)?.run(args.no_reboot(), &mut report);
    // What is known is reported also when the main loop failed. Without a guest there is nothing to say.
    let targets = if report.boot_count > 0 { targets } else { Vec::new() };
    let written = targets.iter().map(|target| write(&report, target)).fold(Ok(()), Result::and);
    Ok(Finished { ended: ended?, report: written })
}

fn write(report: &Report, target: &ReportTarget) -> Result<(), RunError> {
    report.write(target).map_err(|source| RunError::Report {
        path: target.file.as_ref().map_or("standard output".to_owned(), |path| path.display().to_string()),
        source,
    })
}

/// What outlives a reboot.
struct Session<'a> {
    plan: &'a Plan,
    events: Loop,
    wish: Arc<Wish>,
    serial_file: Arc<OnceLock<File>>,
}

impl<'a> Session<'a> {
    fn new(plan: &'a Plan) -> Result<Self, SetupError> {
        let system = |what| move |source| SetupError::System { what, source };
        let mut events = Loop::new().map_err(SetupError::NoMainLoop)?;
        let wish = Wish::new().map_err(system("make an eventfd"))?;
        let on_signal = Arc::clone(&wish);
        signals::watch(move |signal| on_signal.make(signal)).map_err(system("watch for signals"))?;
        events.add_subscriber(Box::new(WishWatch(Arc::clone(&wish))));
        Ok(Self { plan, events, wish, serial_file: Arc::default() })
    }

    fn run(mut self, no_reboot: bool, report: &mut Report) -> Result<Ended, SetupError> {
        // The first machine is there before anything visible happens: an error leaves no trace.
        let mut machine = Machine::build(self.plan, self.serial_output())?;
        self.create_serial_file()?;
        let (_raw, console) = self.console()?;
        loop {
            if let Some(console) = &console {
                console.attach(Some(machine.serial()));
            }
            let wish = Arc::clone(&self.wish);
            let reason = machine.run(&mut self.events, || wish.granted().is_some());
            let ended = match reason {
                Ok(reason) => self.ended(reason),
                Err(error) => {
                    report.add(&machine, &error.to_string());
                    return Err(error);
                }
            };
            report.add(&machine, &ended.to_string());
            if no_reboot || !matches!(ended, Ended::Reset) {
                return Ok(ended);
            }
            tracing::info!("the guest resets itself");
            if let Some(console) = &console {
                console.attach(None);
            }
            // The old machine's files and locks are free before the new one asks for them.
            drop(machine);
            machine = Machine::build(self.plan, self.serial_output())?;
        }
    }

    /// A wish comes before what the guest did about the same time.
    fn ended(&self, reason: ExitReason) -> Ended {
        self.wish.granted().unwrap_or(match reason {
            ExitReason::PowerOff => Ended::PoweredOff,
            ExitReason::Reset => Ended::Reset,
            ExitReason::Crashed(report) => Ended::Crashed(report),
            // Nobody but this module stops a machine, and it does so for a wish.
            ExitReason::Stopped => Ended::Left,
        })
    }
}

/// The serial port: where its output goes, and what comes in.
impl Session<'_> {
    fn serial_output(&self) -> SerialOutput {
        match self.plan.serial.mode {
            ConsoleMode::Tty => Box::new(io::stdout()),
            ConsoleMode::Off => Box::new(io::sink()),
            ConsoleMode::File => Box::new(LateFile(Arc::clone(&self.serial_file))),
        }
    }

    fn create_serial_file(&self) -> Result<(), SetupError> {
        if let (ConsoleMode::File, Some(path)) = (self.plan.serial.mode, &self.plan.serial.file) {
            let failed = |source| SetupError::Serial { path: path.display().to_string(), source };
            let file = File::create(path).map_err(failed)?;
            self.serial_file.get_or_init(|| file);
        }
        Ok(())
    }

    fn console(&self) -> Result<(Option<RawTerminal>, Option<Console>), SetupError> {
        if self.plan.serial.mode != ConsoleMode::Tty {
            return Ok((None, None));
        }
        let raw = RawTerminal::enter().map_err(|source| SetupError::System { what: "set up the terminal", source })?;
        let wish = Arc::clone(&self.wish);
        let console = Console::start(raw.is_some(), move || wish.make(LEAVE))
            .map_err(|source| SetupError::System { what: "start the console", source })?;
        Ok((raw, Some(console)))
    }
}

/// A file that is created once it is sure that there will be something to write.
struct LateFile(Arc<OnceLock<File>>);

impl Write for LateFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.get() {
            Some(mut file) => file.write(bytes),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get().map_or(Ok(()), |mut file| file.flush())
    }
}
