// SPDX-License-Identifier: Apache-2.0
//! One client: hyper's connection around our stream, and the replies that no route makes.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{SendFlags, send};
use tokio::net::UnixStream;

use super::dispatch::Dispatcher;
use super::stream::ClientStream;
use super::{HEAD, HEADERS};
use crate::{Code, Fault};

/// Serves one client until it leaves, misbehaves, or the server ends.
pub async fn serve(stream: UnixStream, dispatcher: Arc<Dispatcher>) {
    let patience = dispatcher.limits().patience;
    let stream = ClientStream::new(stream, patience);
    let peer = stream.peer();
    let answer = {
        let dispatcher = Arc::clone(&dispatcher);
        service_fn(move |request| {
            let (dispatcher, peer) = (Arc::clone(&dispatcher), Arc::clone(&peer));
            async move { Ok::<_, Infallible>(dispatcher.answer(request, peer).await) }
        })
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(HEAD)
        .max_headers(HEADERS)
        // A client may close its sending half and still wait for the reply.
        .half_close(true)
        // Clients of Cloud Hypervisor look for "Content-Length", to the letter.
        .title_case_headers(true);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), answer));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = dispatcher.closed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a client's connection ends: {error}");
    }
}

/// Answers a client for whom there is no room, without waiting for it.
pub fn turn_away(stream: &UnixStream) {
    let fault = Fault::new(Code::Busy, "too many clients are connected: try again when one has left");
    // Into an empty socket buffer this fits; if not, the client sees the connection end. Not by tokio: it
    // has not yet heard that a new connection can be written.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let _ = send(stream, &whole_reply(&fault), flags);
}

/// The reply that takes the place of hyper's own to a request that is none: hyper's has no body. All
/// replies of the dispatcher with such a status have one.
pub fn protocol_fault(reply: &[u8]) -> Option<Bytes> {
    let head = std::str::from_utf8(reply.get(..reply.len().min(512))?).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?;
    if !status.starts_with('4') || !head.to_ascii_lowercase().contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    let fault = match status.get(..3)? {
        "431" | "414" => {
            Fault::new(Code::HeadTooLarge, "the request's head is too large: 16 KiB and 100 headers are the limit")
        }
        _ => Fault::new(Code::MalformedRequest, "this is not an HTTP/1.1 request"),
    };
    Some(whole_reply(&fault))
}

fn whole_reply(fault: &Fault) -> Bytes {
    let status = fault.status();
    // A fault has no map with other keys than texts, so this cannot fail.
    let body = serde_json::to_string(fault).unwrap_or_default();
    let length = body.len();
    Bytes::from(format!(
        "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}
