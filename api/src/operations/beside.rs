// SPDX-License-Identifier: Apache-2.0
//! Routes that the engine has no part in: they are answered here, or by the [`Service`] itself.

use super::{NOTHING, examples, json, ok, parameter, parameters, plain};
use crate::routes::{Body, Call, Content, Lane, Method, Parameter, Reply, Route};
use crate::service::{ProbeWhat, Service};
use crate::state::StateSet;
use crate::types::{EventLine, ProbeReport, VmmPing};
use crate::{Code, Fault, decode};

pub const PING: Route = Route {
    method: Method::Get,
    path: "/api/v1/vmm.ping",
    operation: "pingVMM",
    summary: "Whether the monitor answers, and which it is",
    text: "",
    states: StateSet::ANY,
    lane: Lane::Inline,
    input: NOTHING,
    successes: &[ok(
        "It does.",
        Content::Json(Body::of::<VmmPing>(&[plain(
            r#"{"version": "0.1.0", "build_version": "v0.1.0", "pid": 4711, "features": ["kvm"]}"#,
        )])),
    )],
    faults: &[],
    handler: ping,
};

pub const TRACE: Route = Route {
    method: Method::Get,
    path: "/api/v1/vm.trace",
    operation: "traceVM",
    summary: "The guest's accesses to legacy registers, as they happen",
    text: "JSON objects, one a line, until the client leaves or the guest ends. A client that is too slow misses lines, \
           and a line tells how many.",
    states: StateSet::ON,
    lane: Lane::Look,
    input: parameters(&[Parameter { name: "id", text: "This function alone.", example: "net0" }]),
    successes: &[ok("Lines without an end.", Content::Lines(Body::of::<serde_json::Value>(&[examples::TRACE])))],
    faults: &[Code::DeviceNotFound, Code::SetupFailed],
    handler: |service, call| service.trace(parameter(&call, "id")?.as_deref()).map(Reply::Lines),
};

pub const EVENTS: Route = Route {
    method: Method::Get,
    path: "/api/v1/vmm.events",
    operation: "eventsVMM",
    summary: "What happens, as it happens",
    text: "JSON objects, one a line, until the client leaves or the monitor ends. A client that is too slow misses \
           lines, and a line tells how many.",
    states: StateSet::ANY,
    lane: Lane::Look,
    input: NOTHING,
    successes: &[ok("Lines without an end.", Content::Lines(Body::of::<EventLine>(&[examples::EVENT])))],
    faults: &[],
    handler: |service, call| decode::query(&call.query, &[]).and_then(|_| service.events()).map(Reply::Lines),
};

pub const PROBE: Route = Route {
    method: Method::Get,
    path: "/api/v1/host.probe",
    operation: "probeHost",
    summary: "Whether this host, or a PCI function of it, can be used",
    text: "Looks, and changes nothing. At most one of the parameters.",
    states: StateSet::ANY,
    lane: Lane::Look,
    input: parameters(&[
        Parameter {
            name: "path",
            text: "This PCI function, a VF or not: its address, or its path below /sys.",
            example: "/sys/bus/pci/devices/0000:41:00.3",
        },
        Parameter { name: "vf", text: "The VF of this address, and its PF.", example: "0000:41:00.3" },
        Parameter { name: "pf", text: "The PF of this address, and its VFs.", example: "0000:41:00.0" },
    ]),
    successes: &[ok("One entry for each check.", Content::Json(Body::of::<ProbeReport>(&[examples::PROBE])))],
    faults: &[Code::DeviceNotFound],
    handler: probe,
};

pub const DOCUMENT: Route = Route {
    method: Method::Get,
    path: "/api/v1/openapi.json",
    operation: "openapi",
    summary: "This interface as an OpenAPI 3 document",
    text: "",
    states: StateSet::ANY,
    lane: Lane::Inline,
    input: NOTHING,
    successes: &[ok("The document.", Content::Document)],
    faults: &[],
    handler: |_, call| decode::query(&call.query, &[]).map(|_| Reply::Document),
};

fn ping(_: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault> {
    decode::query(&call.query, &[])?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let pid = std::process::id().into();
    json(&VmmPing { build_version: format!("v{version}"), version, pid, features: vec!["kvm".to_owned()] })
}

fn probe(service: &(dyn Service + 'static), call: Call) -> Result<Reply, Fault> {
    let mut found =
        decode::query(&call.query, &["path", "vf", "pf"])?.into_iter().filter(|(_, value)| !value.is_empty());
    let what = match found.next() {
        None => ProbeWhat::Host,
        Some(("vf", address)) => ProbeWhat::Vf(address),
        Some(("pf", address)) => ProbeWhat::Pf(address),
        Some((_, path)) => ProbeWhat::Path(path),
    };
    if let Some((name, _)) = found.next() {
        return Err(Fault::new(Code::InvalidField, "one of path, vf and pf can be probed at a time").at(name));
    }
    json(&service.host_probe(&what)?)
}
