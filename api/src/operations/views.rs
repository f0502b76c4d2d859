// SPDX-License-Identifier: Apache-2.0
//! Operations that look at the virtual machine.

use super::{IntoReply, Operation, PROMETHEUS, examples, json, look, nothing, ok, parameter, parameters, plain};
use crate::Fault;
use crate::routes::{Body, Call, Content, Parameter, Reply, Route};
use crate::state::StateSet;
use crate::types::{LegacyDevice, VmCounters, VmInfo};

/// What the machine is.
#[derive(Clone, Copy, Debug)]
pub struct Info;

impl IntoReply for VmInfo {
    fn into_reply(self) -> Result<Reply, Fault> {
        json(&self)
    }
}

impl Operation for Info {
    type Reply = VmInfo;
    const ROUTE: Route = Route {
        states: StateSet::EXISTS,
        successes: &[ok("What the machine is.", Content::Json(Body::of::<VmInfo>(&[examples::INFO])))],
        ..look::<Self>("/api/v1/vm.info", "infoVM", "Configuration, state and devices")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// What the machine did, in numbers.
#[derive(Clone, Copy, Debug)]
pub struct Counters;

impl IntoReply for VmCounters {
    fn into_reply(self) -> Result<Reply, Fault> {
        json(&self)
    }
}

impl Operation for Counters {
    type Reply = VmCounters;
    const ROUTE: Route = Route {
        states: StateSet::ON,
        successes: &[ok(
            "Counters since the last boot.",
            Content::Json(Body::of::<VmCounters>(&[plain(
                r#"{"net0": {"reads": 49, "writes": 31}, "vcpu0": {"port_in": 75, "port_out": 163}}"#,
            )])),
        )],
        ..look::<Self>("/api/v1/vm.counters", "countersVM", "What devices and processors did, in numbers")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}

/// The legacy functions in detail.
#[derive(Clone, Debug, Default)]
pub struct Legacy {
    /// The one of this id; `None` for all.
    pub id: Option<String>,
}

impl IntoReply for Vec<LegacyDevice> {
    fn into_reply(self) -> Result<Reply, Fault> {
        json(&self)
    }
}

impl Operation for Legacy {
    type Reply = Vec<LegacyDevice>;
    const ROUTE: Route = Route {
        states: StateSet::ON,
        input: parameters(&[Parameter { name: "id", text: "This function alone.", example: "net0" }]),
        successes: &[ok("One entry for each.", Content::Json(Body::of::<Vec<LegacyDevice>>(&[examples::LEGACY])))],
        faults: &[crate::Code::DeviceNotFound],
        ..look::<Self>(
            "/api/v1/vm.legacy",
            "legacyVM",
            "The legacy virtio functions: registers, notifications, administration commands, faults",
        )
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        Ok(Self { id: parameter(&call, "id")? })
    }
}

/// Everything that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Metrics;

/// Text in Prometheus' format 0.0.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusText(pub String);

impl IntoReply for PrometheusText {
    fn into_reply(self) -> Result<Reply, Fault> {
        Ok(Reply::Text(PROMETHEUS, self.0))
    }
}

impl Operation for Metrics {
    type Reply = PrometheusText;
    const ROUTE: Route = Route {
        successes: &[ok("Text format 0.0.4.", Content::Text(PROMETHEUS))],
        ..look::<Self>("/metrics", "metrics", "Everything that is measured, for Prometheus")
    };

    fn decode(call: Call) -> Result<Self, Fault> {
        nothing(&call, Self)
    }
}
