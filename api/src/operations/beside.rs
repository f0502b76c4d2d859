// SPDX-License-Identifier: Apache-2.0
//! Routes that the engine has no part in: the table of [`crate::service`] says who answers them.

use super::{examples, plain};
use crate::Code;
use crate::routes::{Body, Content, Parameter, Route, Success};
use crate::state::StateSet;
use crate::types::{EventLine, ProbeReport, VmmPing};

pub(crate) const PING: Route = Route::look(
    "/api/v1/vmm.ping",
    "pingVMM",
    "Whether the monitor answers, and its version",
    &[Success::ok(
        "It does.",
        Content::Json(Body::of::<VmmPing>(&[plain(
            r#"{"version": "0.1.0", "build_version": "v0.1.0", "pid": 4711, "features": ["kvm"]}"#,
        )])),
    )],
)
.at_once();

pub(crate) const TRACE: Route = Route::look(
    "/api/v1/vm.trace",
    "traceVM",
    "The guest's accesses to legacy registers, as they happen",
    &[Success::ok("Lines without an end.", Content::Lines(Body::of::<serde_json::Value>(&[examples::TRACE])))],
)
.says(
    "JSON objects, one a line, until the client leaves or the guest ends. A client that is too slow misses lines, \
     and a line tells how many.",
)
.when(StateSet::ON)
.asks(&[Parameter { name: "id", text: "This function alone.", example: "net0" }])
.fails(&[Code::DeviceNotFound, Code::SetupFailed]);

pub(crate) const EVENTS: Route = Route::look(
    "/api/v1/vmm.events",
    "eventsVMM",
    "What happens, as it happens",
    &[Success::ok("Lines without an end.", Content::Lines(Body::of::<EventLine>(&[examples::EVENT])))],
)
.says(
    "JSON objects, one a line, until the client leaves or the monitor ends. A client that is too slow misses \
     lines, and a line tells how many.",
);

pub(crate) const PROBE: Route = Route::look(
    "/api/v1/host.probe",
    "probeHost",
    "Whether this host, or a PCI function of it, can be used",
    &[Success::ok("One entry for each check.", Content::Json(Body::of::<ProbeReport>(&[examples::PROBE])))],
)
.says("Looks, and changes nothing. At most one of the parameters.")
.asks(&[
    Parameter {
        name: "path",
        text: "This PCI function, a VF or not: its address, or its path below /sys.",
        example: "/sys/bus/pci/devices/0000:41:00.3",
    },
    Parameter { name: "vf", text: "The VF of this address, and its PF.", example: "0000:41:00.3" },
    Parameter { name: "pf", text: "The PF of this address, and its VFs.", example: "0000:41:00.0" },
])
.fails(&[Code::DeviceNotFound]);

pub(crate) const DOCUMENT: Route = Route::look(
    "/api/v1/openapi.json",
    "openapi",
    "This interface as an OpenAPI 3 document",
    &[Success::ok("The document.", Content::Document)],
)
.at_once();
