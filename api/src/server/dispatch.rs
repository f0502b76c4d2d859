// SPDX-License-Identifier: Apache-2.0
//! From a request to a reply: route, body, state, lane, deadline.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::ext::ReasonPhrase;
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::clients::{Busy, Client, Clients};
use super::lines::LineBody;
use super::stream::Peer;
use super::{LOOKERS, Limits};
use crate::openapi;
use crate::routes::{Call, Lane, Reply, Route, VMM_SHUTDOWN};
use crate::service::{self, Entry, Service};
use crate::{Code, Fault};

/// A reply for hyper.
pub(super) type HttpReply = Response<BoxBody<Bytes, Infallible>>;

/// What all clients share.
pub(super) struct Dispatcher {
    service: Arc<dyn Service>,
    limits: Limits,
    clients: Arc<Clients>,
    looking: Lanes,
    changing: Lanes,
    streams: Arc<Semaphore>,
    shutdown: Notify,
    closed: watch::Sender<bool>,
}

/// One kind of operation: how many at a time, and how many wait.
struct Lanes {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Lanes {
    fn new(turns: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), waiting: AtomicUsize::new(0) }
    }

    /// Waits for a turn; `None` if too many wait already.
    async fn turn(&self, most: usize) -> Option<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Some(turn);
        }
        let _waiting = Waiting::one_of(&self.waiting, most)?;
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}

/// Counts one that waits, also when its client leaves meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn one_of(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let more = |n: usize| (n < most).then_some(n + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Dispatcher {
    pub(super) fn new(service: Arc<dyn Service>, limits: Limits) -> Self {
        Self {
            service,
            limits,
            clients: Arc::default(),
            looking: Lanes::new(LOOKERS),
            changing: Lanes::new(1),
            streams: Arc::new(Semaphore::new(limits.streams)),
            shutdown: Notify::new(),
            closed: watch::Sender::new(false),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Who is connected.
    pub(super) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// Ends when `vmm.shutdown` has been carried out.
    pub(super) async fn shutdown_asked(&self) {
        self.shutdown.notified().await;
    }

    /// Tells every connection to end after its current reply.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Ends when [`Dispatcher::close`] was called.
    pub(super) async fn closed(&self) {
        // The sender is part of `self`, so it cannot be gone.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Answers a request. Whatever happens, there is a reply.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: Arc<Peer>, client: Arc<Client>) -> HttpReply {
        let mut reply = self.reply(request, peer, &client).await;
        // ch-remote takes all that follows the version for a number: the line has to be "HTTP/1.1 200 ".
        reply.extensions_mut().insert(ReasonPhrase::from_static(b""));
        reply
    }

    async fn reply(&self, request: Request<Incoming>, peer: Arc<Peer>, client: &Arc<Client>) -> HttpReply {
        let found = service::find(request.method().as_str(), request.uri().path());
        let query = request.uri().query().unwrap_or_default().to_owned();
        // Also what no route takes is read, or the connection could not go on.
        let body = self.body(request).await;
        // From here on the client is owed a reply.
        let busy = client.busy();
        let descriptors = peer.take_descriptors();
        let entry = match found {
            Ok(entry) => entry,
            Err((fault, allow)) => return method_not_allowed(&fault, allow),
        };
        let call = body.and_then(|body| {
            let too_many = || Fault::new(Code::InvalidDescriptors, "more than 16 descriptors came with the request");
            let call = Call { body, query, descriptors: descriptors.ok_or_else(too_many)? };
            check_input(&entry.route, &call)?;
            Ok(call)
        });
        let outcome = match call {
            Ok(call) => self.carry_out(entry, call).await,
            Err(fault) => Err(fault),
        };
        let reply = outcome.and_then(|reply| self.encode(reply, peer, busy));
        reply.unwrap_or_else(|fault| fault_reply(&fault))
    }

    async fn body(&self, request: Request<Incoming>) -> Result<Vec<u8>, Fault> {
        let too_large =
            || Fault::new(Code::BodyTooLarge, format!("the body is larger than {} bytes", self.limits.body));
        if request.body().size_hint().lower() > self.limits.body as u64 {
            return Err(too_large());
        }
        let body = Limited::new(request.into_body(), self.limits.body);
        match timeout(self.limits.times.patience, body.collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes().into()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(error)) => Err(Fault::from_error(Code::MalformedRequest, &*error)),
            Err(_) => Err(Fault::new(Code::RequestTimeout, "the body took too long to arrive")),
        }
    }

    async fn carry_out(&self, entry: &'static Entry, call: Call) -> Result<Reply, Fault> {
        let Entry { route, handler } = entry;
        let lanes = match route.lane() {
            Lane::Inline => return handler(&*self.service, call),
            Lane::Look => &self.looking,
            Lane::Change => &self.changing,
        };
        let too_late = |_| {
            let message = format!("{} takes longer than {:?}; it continues", route.name(), self.limits.times.operation);
            Fault::new(Code::DeadlineExceeded, message)
        };
        let work = async {
            let turn = lanes.turn(self.limits.waiting).await.ok_or_else(|| {
                Fault::new(Code::Busy, format!("{}: too many requests wait for their turn", route.name()))
            })?;
            let service = Arc::clone(&self.service);
            // Once begun it goes on to its end, client or no client.
            let done = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                // The state now, not when the request came: others had their turn in between.
                route.check_state(service.state())?;
                handler(&*service, call)
            });
            done.await.unwrap_or_else(|error| {
                tracing::error!("{}: {error}", route.name());
                Err(Fault::new(Code::Internal, format!("{}: a bug in Heirloom ended this", route.name())))
            })
        };
        let reply = timeout(self.limits.times.operation, work).await.map_err(too_late)??;
        if route.path == VMM_SHUTDOWN {
            self.shutdown.notify_one();
        }
        Ok(reply)
    }

    fn encode(&self, reply: Reply, peer: Arc<Peer>, busy: Busy) -> Result<HttpReply, Fault> {
        Ok(match reply {
            Reply::Empty => {
                let mut reply = with_body(StatusCode::NO_CONTENT, "", Bytes::new());
                reply.headers_mut().remove(CONTENT_TYPE);
                reply
            }
            Reply::Json(json) => with_body(StatusCode::OK, "application/json", json.into()),
            Reply::Document => with_body(StatusCode::OK, "application/json", openapi::document().to_string().into()),
            Reply::Text(media, text) => with_body(StatusCode::OK, media, text.into()),
            Reply::Lines(lines) => {
                let full = |_| Fault::new(Code::Busy, "too many streams are open");
                let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(full)?;
                let started = LineBody::start(lines, peer, (permit, busy));
                let body = started.map_err(|error| Fault::from_error(Code::Unavailable, &error))?;
                let mut reply = Response::new(body.boxed());
                reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
                reply
            }
        })
    }
}

/// What the route does not take is refused, not ignored. Some clients send an empty object for nothing.
fn check_input(route: &Route, call: &Call) -> Result<(), Fault> {
    if route.input.body.is_none() && !matches!(call.body.trim_ascii(), b"" | b"{}" | b"null") {
        return Err(Fault::new(Code::MalformedRequest, format!("{} takes no body", route.name())));
    }
    if !route.input.descriptors && !call.descriptors.is_empty() {
        let message = format!("{} takes no file descriptors", route.name());
        return Err(Fault::new(Code::InvalidDescriptors, message));
    }
    Ok(())
}

fn with_body(status: StatusCode, media: &'static str, body: Bytes) -> HttpReply {
    let mut reply = Response::new(Full::new(body).boxed());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn fault_reply(fault: &Fault) -> HttpReply {
    let status = StatusCode::from_u16(fault.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // A fault has no map with other keys than texts, so this cannot fail.
    let mut reply = with_body(status, "application/json", serde_json::to_vec(fault).unwrap_or_default().into());
    if matches!(fault.code, Code::BodyTooLarge | Code::RequestTimeout | Code::MalformedRequest) {
        // The rest of the request may still be on its way.
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

fn method_not_allowed(fault: &Fault, allow: Option<String>) -> HttpReply {
    let mut reply = fault_reply(fault);
    // The table's methods are plain words.
    if let Some(allow) = allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
        reply.headers_mut().insert(ALLOW, allow);
    }
    reply
}
