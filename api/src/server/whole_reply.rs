// SPDX-License-Identifier: Apache-2.0
//! Replies that no route makes, written without hyper. Pure.

use bytes::Bytes;

use crate::{Code, Fault};

/// The reply that takes the place of hyper's own to a request that is none: hyper's has no body. All
/// replies of the dispatcher with such a status have one.
pub(super) fn protocol_fault(reply: &[u8]) -> Option<Bytes> {
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

/// A fault as a whole HTTP reply, after which the connection ends.
pub(super) fn whole_reply(fault: &Fault) -> Bytes {
    let status = fault.status();
    // A fault has no map with other keys than texts, so this cannot fail.
    let body = serde_json::to_string(fault).unwrap_or_default();
    let length = body.len();
    Bytes::from(format!(
        "HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
}
