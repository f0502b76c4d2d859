// SPDX-License-Identifier: Apache-2.0
//! A client of the socket, for `heirloom ctl` and tests: one request at a time, blocking.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::Fault;

/// Longer than the server waits for an operation.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why there is no reply.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot connect to the API socket {}", path.display())]
    Connect {
        /// Path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the server does not answer as it should")]
    Protocol(#[source] hyper::Error),
    /// The system says no.
    #[error("cannot send the request")]
    System(#[from] io::Error),
    /// No reply in two minutes.
    #[error("the server does not answer")]
    Timeout,
    /// The server said no.
    #[error("{}", .0.message)]
    Fault(Box<Fault>),
    /// The server said no in another way than Heirloom does.
    #[error("the server answers with status {status}: {body}")]
    Foreign {
        /// Status.
        status: u16,
        /// Start of the body.
        body: String,
    },
}

/// A connection's end here.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    runtime: Runtime,
}

impl Client {
    /// A client of the socket at `path`; each request opens a new connection.
    ///
    /// # Errors
    /// When the system has no event loop left.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), runtime: Builder::new_current_thread().enable_all().build()? })
    }

    /// Sends a request and waits for the whole reply; its body, empty for 204.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::Fault`] has the server's own words.
    pub fn request(&self, method: &str, target: &str, body: Option<String>) -> Result<Vec<u8>, ClientError> {
        let reply = async {
            let reply = self.send(method, target, body).await?;
            let status = reply.status();
            let body = reply.into_body().collect().await.map_err(ClientError::Protocol)?.to_bytes();
            if status.is_success() { Ok(body.to_vec()) } else { Err(refused(status.as_u16(), &body)) }
        };
        self.runtime.block_on(async { timeout(PATIENCE, reply).await.unwrap_or(Err(ClientError::Timeout)) })
    }

    /// Sends a request and hands on the reply's bytes as they come, until it ends or `take` says `false`.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn stream(&self, target: &str, mut take: impl FnMut(&[u8]) -> bool) -> Result<(), ClientError> {
        self.runtime.block_on(async {
            let mut reply = self.send("GET", target, None).await?;
            let status = reply.status();
            if !status.is_success() {
                let body = reply.into_body().collect().await.map_err(ClientError::Protocol)?.to_bytes();
                return Err(refused(status.as_u16(), &body));
            }
            while let Some(frame) = reply.frame().await {
                let frame = frame.map_err(ClientError::Protocol)?;
                if frame.data_ref().is_some_and(|bytes| !take(bytes)) {
                    break;
                }
            }
            Ok(())
        })
    }

    async fn send(
        &self,
        method: &str,
        target: &str,
        body: Option<String>,
    ) -> Result<Response<hyper::body::Incoming>, ClientError> {
        let connect = |source| ClientError::Connect { path: self.path.clone(), source };
        let stream = UnixStream::connect(&self.path).await.map_err(connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::Protocol)?;
        // It ends with the reply.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header(HOST, "localhost");
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .map_err(|error| ClientError::System(io::Error::other(error)))?;
        sender.send_request(request).await.map_err(ClientError::Protocol)
    }
}

fn refused(status: u16, body: &[u8]) -> ClientError {
    match serde_json::from_slice(body) {
        Ok(fault) => ClientError::Fault(Box::new(fault)),
        Err(_) => ClientError::Foreign { status, body: String::from_utf8_lossy(body).chars().take(200).collect() },
    }
}
