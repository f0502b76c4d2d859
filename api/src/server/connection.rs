// SPDX-License-Identifier: Apache-2.0
//! One client: hyper's connection around our stream, and the replies that no route makes.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::{SendFlags, send};
use tokio::net::UnixStream;

use super::clients::Client;
use super::dispatch::Dispatcher;
use super::stream::ClientStream;
use super::whole_reply::whole_reply;
use super::{HEAD, HEADERS};
use crate::{Code, Fault};

/// Serves one client until it leaves, makes way, misbehaves, or the server ends.
pub(super) async fn serve(stream: UnixStream, client: Client, dispatcher: Arc<Dispatcher>) {
    let patience = dispatcher.limits().times.patience;
    let stream = ClientStream::new(stream, patience);
    let (peer, client) = (stream.peer(), Arc::new(client));
    let answer = {
        let (dispatcher, client) = (Arc::clone(&dispatcher), Arc::clone(&client));
        service_fn(move |request| {
            let (dispatcher, peer, client) = (Arc::clone(&dispatcher), Arc::clone(&peer), Arc::clone(&client));
            async move { Ok::<_, Infallible>(dispatcher.answer(request, peer, client).await) }
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
        () = client.has_to_leave() => {
            tracing::debug!("an idle client is closed to make room for another");
            return;
        }
        () = dispatcher.closed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a client's connection ended: {error}");
    }
}

/// Answers a client for whom there is no room, without waiting for it.
pub(super) fn turn_away(stream: &UnixStream) {
    let fault = Fault::new(Code::Busy, "too many clients are connected: try again when one has left");
    // Into an empty socket buffer this fits; if not, the client sees the connection end. Not by tokio: it
    // has not yet heard that a new connection can be written.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let _ = send(stream, &whole_reply(&fault), flags);
}
