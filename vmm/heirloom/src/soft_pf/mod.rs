// SPDX-License-Identifier: Apache-2.0
//! `heirloom soft-pf`: a software PF with an administration virtqueue, and its VFs, offered over vfio-user, one
//! socket for each function. What the functions are is in [`devices::soft_pf`], what goes over the sockets in
//! [`devices::function::vfio_user`].
//!
//! | module | what it is |
//! | --- | --- |
//! | `plan` | words into a software PF |
//! | `sockets` | the folder of the sockets |
//! | `report` | what is told at the end |
#![forbid(unsafe_code)]

mod plan;
mod report;
mod sockets;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Once};

use devices::function::PciFunction;
use devices::function::vfio_user::{Server, ServerError};
use devices::soft_pf::{HiddenConfig, SoftPf};
use thiserror::Error;
use vmm::end_in_time::end_in_time;
use vmm::{panics, sandbox, signals, waits};

use self::report::Report;
use self::sockets::{SocketDir, SocketError};
use crate::cli::{HiddenVf, SoftPfArgs};
use crate::report::ReportTarget;

/// Why a server did not come to a good end.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// The words contradict each other.
    #[error("{0}")]
    Usage(String),
    /// A disk, a tap or the functions themselves.
    #[error("cannot make the functions")]
    Device(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] SocketError),
    /// A socket.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A function is missing; a bug in this program.
    #[error("a function is missing")]
    Internal,
    /// A thread panicked.
    #[error("heirloom failed: {0}")]
    Panicked(String),
    /// The system refused.
    #[error("cannot {what}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The report has nowhere to go.
    #[error("cannot write the report to {}", path.display())]
    Report {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Serves until a signal comes, then removes the sockets and writes the reports.
///
/// # Errors
/// When the server could not begin, or a report could not be written. In both cases no socket is left.
pub(crate) fn run(args: &SoftPfArgs) -> Result<(), ServeError> {
    let targets = args.reports();
    for target in &targets {
        target.check().map_err(|(path, source)| ServeError::Report { path, source })?;
    }
    // Before anything is visible, so that a signal never leaves a socket behind.
    let (end, ends) = mpsc::channel();
    let (panicked, opened) = (end.clone(), end.clone());
    let first = Once::new();
    let watch = signals::watch(move |number| {
        first.call_once(|| end_in_time(LATE));
        // The other end is gone when the end has begun, and then there is nothing to tell.
        let _ = end.send(End::Signal(number));
    });
    panics::tell(move |reason| drop(panicked.send(End::Panic(reason))));
    watch.map_err(|source| ServeError::System { what: "watch for signals", source })?;

    let path = args.socket_dir().to_owned();
    let claim = move || Ok(SocketDir::claim(&path)?);
    let Some(folder) = open(claim, &opened, &ends)? else { return Ok(()) };
    let plan = args.clone();
    let Some(soft) = open(move || plan::build(&plan), &opened, &ends)? else { return Ok(()) };
    let servers = serve(args, &soft, &folder)?;
    let mut outcome = Ok(());
    match ends.recv() {
        Ok(End::Signal(number)) => tracing::info!("ended by signal {number}"),
        Ok(End::Panic(reason)) => outcome = Err(ServeError::Panicked(reason)),
        Ok(End::Opened) | Err(_) => {}
    }
    // Clients go before what they did is told, and functions stay until then.
    let functions = soft.report();
    drop(servers);
    let report = Report { version: env!("CARGO_PKG_VERSION"), functions, sandbox: sandbox::held() };
    outcome.and(targets.iter().try_for_each(|target| write(&report, target)))
}

/// What happens to a server.
enum End {
    Signal(i32),
    Panic(String),
    /// What [`open`] opens is open, or cannot be.
    Opened,
}

/// Exit code of a server that does not come to its end in time.
const LATE: u8 = 1;
/// What takes the time where it is no file.
const OPENING: &str = "opening";

/// Opens what the server needs on a thread of its own: storage that does not answer keeps nobody from ending this. `None`
/// if a signal did.
fn open<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServeError> + Send + 'static,
    opened: &Sender<End>,
    ends: &Receiver<End>,
) -> Result<Option<T>, ServeError> {
    let (opened, (give, take)) = (opened.clone(), mpsc::channel());
    // What nobody takes is closed again.
    let done = move |result: Result<_, String>| {
        let end = result.map_or_else(End::Panic, |built| {
            drop(give.send(built));
            End::Opened
        });
        drop(opened.send(end));
    };
    waits::apart(work, done).map_err(|source| ServeError::System { what: "open the disks", source })?;
    match waits::news(ends, None, OPENING) {
        Ok(End::Opened) => take.recv().map_err(|_| ServeError::Internal)?.map(Some),
        Ok(End::Panic(reason)) => Err(ServeError::Panicked(reason)),
        Ok(End::Signal(number)) => {
            tracing::warn!("ended by signal {number} while {}", waits::current_or(OPENING));
            Ok(None)
        }
        Err(_) => Err(ServeError::Internal),
    }
}

/// Offers PF and VFs, and says so when all are there.
fn serve(args: &SoftPfArgs, soft: &SoftPf, folder: &SocketDir) -> Result<Vec<Server>, ServeError> {
    let hidden = match args.hidden_vf() {
        HiddenVf::Readable => HiddenConfig::Readable,
        HiddenVf::Ones => HiddenConfig::AllOnes,
    };
    let mut functions: Vec<(String, Arc<dyn PciFunction>)> = vec![("pf.sock".to_owned(), soft.pf())];
    for index in 0..soft.vf_count() {
        functions.push((format!("vf{index}.sock"), soft.vf_slot(index, hidden).ok_or(ServeError::Internal)?));
    }
    let mut servers = Vec::new();
    let mut paths = Vec::new();
    for (name, function) in functions {
        let path = folder.socket(&name);
        let listener = Server::bind(&path)?;
        servers.push(Server::spawn(function, listener)?);
        paths.push(path.display().to_string());
    }
    let mut out = io::stdout().lock();
    let said = writeln!(out, "listening on {}", paths.join(" ")).and_then(|()| out.flush());
    // Whoever started the server may not read what it says.
    if let Err(error) = said {
        tracing::warn!("cannot write to standard output: {error}");
    }
    Ok(servers)
}

fn write(report: &Report, target: &ReportTarget) -> Result<(), ServeError> {
    let path = || target.file.clone().unwrap_or_else(|| "standard output".into());
    report.write(target).map_err(|source| ServeError::Report { path: path(), source })
}
