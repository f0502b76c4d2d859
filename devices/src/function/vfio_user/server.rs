// SPDX-License-Identifier: Apache-2.0
//! Offers one function on a socket, one client after the other, on a thread of its own: a client that is
//! slow or silent holds up nobody but itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, socket_with};
use thiserror::Error;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::channel::{self, Ready};
use super::session::Session;
use crate::contract::threads::{self, ThreadKind};
use crate::function::{PciFunction, eventfds};

/// Clients that wait for the one before them.
const BACKLOG: i32 = 128;
/// Rest after an `accept` that failed, most likely for want of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// Why a function cannot be offered.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Something else than an old socket is in the way.
    #[error("{} exists and is not a socket; choose another path", path.display())]
    InTheWay {
        /// The socket's path.
        path: PathBuf,
    },
    /// Another server listens there.
    #[error("{}: another process listens on this socket; end it or choose another path", path.display())]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// No socket.
    #[error("cannot listen on {}: {source}", path.display())]
    Listen {
        /// The socket's path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// No eventfd or thread.
    #[error("{name}: cannot start its server: {source}; the limit of open files or threads may be too low")]
    Start {
        /// The function.
        name: String,
        /// The reason.
        source: io::Error,
    },
}

/// The server of one function. Dropping it is [`Server::stop`].
///
/// Between two clients the function is reset, its interrupts are off and its DMA mappings gone. Clients
/// that come while one is there wait.
#[derive(Debug)]
pub struct Server {
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
    /// The socket's file, which goes with the server.
    path: Option<PathBuf>,
}

impl Server {
    /// A socket at `path`. A socket file that nobody listens on any more is replaced; its mode is 0600, as
    /// whoever connects drives the function.
    pub fn bind(path: &Path) -> Result<UnixListener, ServerError> {
        let listen = |source| ServerError::Listen { path: path.to_owned(), source };
        if let Ok(data) = fs::symlink_metadata(path) {
            if !data.file_type().is_socket() {
                return Err(ServerError::InTheWay { path: path.to_owned() });
            }
            if UnixStream::connect(path).is_ok() {
                return Err(ServerError::InUse { path: path.to_owned() });
            }
            fs::remove_file(path).map_err(listen)?;
        }
        listen_at(path).map_err(|errno| listen(errno.into()))
    }

    /// Offers `function` to whoever connects to `listener`. The thread has the function's name.
    pub fn spawn(function: Arc<dyn PciFunction>, listener: UnixListener) -> Result<Self, ServerError> {
        let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
        let start = |source| ServerError::Start { name: function.name().to_owned(), source };
        listener.set_nonblocking(true).map_err(start)?;
        Self::start(function.clone(), path, move |stop| listen(function.as_ref(), &listener, stop))
    }

    /// Offers `function` to the one client at the other end of `stream`.
    pub fn spawn_on(function: Arc<dyn PciFunction>, stream: UnixStream) -> Result<Self, ServerError> {
        Self::start(function.clone(), None, move |stop| {
            Session::new(function.as_ref()).run(stream.as_fd(), stop);
        })
    }

    fn start(
        function: Arc<dyn PciFunction>,
        path: Option<PathBuf>,
        serve: impl FnOnce(BorrowedFd<'_>) + Send + 'static,
    ) -> Result<Self, ServerError> {
        let error = |source| ServerError::Start { name: function.name().to_owned(), source };
        let stop = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(error)?;
        let stopped = stop.try_clone().map_err(error)?;
        let thread = threads::spawn(ThreadKind::VfioUser, function.name(), move || serve(eventfds::borrow(&stopped)))
            .map_err(error)?;
        Ok(Self { stop, thread: Some(thread), path })
    }

    /// Ends the connection and the thread, and removes the socket. The function is as between two clients.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Err(error) = self.stop.write(1) {
            tracing::error!(%error, "cannot stop a vfio-user server");
        } else if thread.join().is_err() {
            tracing::error!("the thread of a vfio-user server panicked");
        }
        if let Some(path) = self.path.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::debug!(%error, path = %path.display(), "the server's socket was removed by somebody else");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The file of a unix socket gets the mode of the socket itself (unix(7); `unix_bind_bsd` in net/unix/af_unix.c), so it
/// never has another, whatever the umask is: not between its making and a chmod either.
fn listen_at(path: &Path) -> Result<UnixListener, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Serves client after client until `stop` is readable.
fn listen(function: &dyn PciFunction, listener: &UnixListener, stop: BorrowedFd<'_>) {
    let mut failed = false;
    loop {
        match channel::wait(listener.as_fd(), PollFlags::IN, Some(stop), None) {
            Ok(Ready::Socket) => {}
            Ok(Ready::Late) => continue,
            Ok(Ready::Stop) => return,
            Err(error) => {
                tracing::error!(function = function.name(), %error, "cannot wait for vfio-user clients any more");
                return;
            }
        }
        match listener.accept() {
            Ok((stream, _)) => Session::new(function).run(stream.as_fd(), stop),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(function = function.name(), %error, "cannot accept a vfio-user client");
                }
                std::thread::sleep(REST);
            }
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
