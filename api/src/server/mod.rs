// SPDX-License-Identifier: Apache-2.0
//! The server: HTTP/1.1 on a unix socket, on a thread of its own. It may call the [`Service`] and
//! nothing else; no client, however it behaves, makes the service or another client wait.

mod clients;
mod connection;
mod dispatch;
mod lines;
mod socket;
mod stream;
mod whole_reply;

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;
use tokio::net::UnixListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::service::Service;
use dispatch::Dispatcher;
use socket::BoundSocket;
pub use socket::SocketError;

/// What a client may take. docs/api.md tells these figures.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of a body.
    pub body: usize,
    /// How long things may take.
    pub times: Times,
    /// Operations that wait for their turn.
    pub waiting: usize,
    /// Streams at a time.
    pub streams: usize,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// A head to arrive, a body, or a reply to be read.
    pub patience: Duration,
    /// An operation, before its client is told that it goes on without it.
    pub operation: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            body: 1 << 20,
            times: Times { patience: Duration::from_secs(30), operation: Duration::from_secs(90) },
            waiting: 16,
            streams: 8,
        }
    }
}

/// Bytes of a request's head, and of the buffer that hyper reads with.
const HEAD: usize = 16 << 10;
/// Headers of a request.
const HEADERS: usize = 100;
/// How long replies that are on their way may take when the server ends.
const LAST_REPLIES: Duration = Duration::from_secs(2);
/// Looking operations at a time; one thread more is for the changing one.
const LOOKERS: usize = 4;
/// Pause after a connection that could not be accepted, for want of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no server.
#[derive(Debug, Error)]
pub enum StartError {
    /// The socket cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// No thread, or no event loop.
    #[error("cannot start the API server")]
    System(#[from] io::Error),
}

/// A server that runs. Its end, by `drop` or after `vmm.shutdown`, removes the socket.
#[derive(Debug)]
pub struct Server {
    stop: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a socket at `path`. `ended` is called, on the server's thread, when the reply
    /// to `vmm.shutdown` is out and the socket removed; not if the server is dropped.
    ///
    /// # Errors
    /// When the path is taken or cannot be made, or the system has no thread left.
    pub fn start(
        path: &Path,
        service: Arc<dyn Service>,
        limits: Limits,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<Self, StartError> {
        let (socket, listener) = BoundSocket::bind(path)?;
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(LOOKERS + 1).build()?;
        let stop = Arc::new(Notify::new());
        let told = Arc::clone(&stop);
        let thread = thread::Builder::new().name("api".to_owned()).spawn(move || {
            if let Err(error) = service.confine_thread() {
                tracing::error!("the API server ends, as its thread cannot be confined: {error}");
                return end(runtime, socket);
            }
            let dispatcher = Arc::new(Dispatcher::new(service, limits));
            let served = runtime.block_on(serve(listener, &dispatcher, &told));
            end(runtime, socket);
            match served {
                Ok(Why::Shutdown) => ended(),
                Ok(Why::Dropped) => {}
                Err(error) => tracing::error!("the API server stopped: {error}"),
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.notify_one();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            // A panic there has been printed; there is nothing to do about it here.
            let _ = thread.join();
        }
    }
}

/// An operation that does not end must not keep the server from ending.
fn end(runtime: Runtime, socket: BoundSocket) {
    drop(socket);
    runtime.shutdown_background();
}

/// Why the server ended.
enum Why {
    Shutdown,
    Dropped,
}

async fn serve(listener: StdListener, dispatcher: &Arc<Dispatcher>, stop: &Notify) -> io::Result<Why> {
    let listener = UnixListener::from_std(listener)?;
    let mut tasks = JoinSet::new();
    let why = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    match dispatcher.clients().enter(dispatcher.limits().connections) {
                        Some(client) => {
                            tasks.spawn(connection::serve(stream, client, Arc::clone(dispatcher)));
                        }
                        None => connection::turn_away(&stream),
                    }
                    // Those who are here already go on before the next one comes in, and who makes way goes.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    tracing::debug!("cannot accept a client: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
            () = dispatcher.shutdown_asked() => break Why::Shutdown,
            () = stop.notified() => break Why::Dropped,
        }
    };
    dispatcher.close();
    let _ = tokio::time::timeout(LAST_REPLIES, async { while tasks.join_next().await.is_some() {} }).await;
    Ok(why)
}

#[cfg(test)]
#[path = "testing.rs"]
mod testing;

#[cfg(test)]
#[path = "ch_remote_tests.rs"]
mod ch_remote_tests;
#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;
#[cfg(test)]
#[path = "server_tests.rs"]
mod server_tests;
