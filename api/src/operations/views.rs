// SPDX-License-Identifier: Apache-2.0
//! Operations that look at the virtual machine.

use super::{IntoReply, Operation, PROMETHEUS, examples, json, parameter, plain, takes_nothing};
use crate::routes::{Body, Call, Content, Parameter, Reply, Route, Success};
use crate::state::{StateSet, VmState};
use crate::types::{LegacyDevice, VmCounters, VmInfo, VmScreen};
use crate::{Code, Fault};

impl IntoReply for VmInfo {
    fn into_reply(self) -> Result<Reply, Fault> {
        json(&self)
    }
}

impl IntoReply for VmCounters {
    fn into_reply(self) -> Result<Reply, Fault> {
        json(&self)
    }
}

impl IntoReply for Vec<LegacyDevice> {
    fn into_reply(self) -> Result<Reply, Fault> {
        json(&self)
    }
}

impl IntoReply for VmScreen {
    fn into_reply(self) -> Result<Reply, Fault> {
        json(&self)
    }
}

/// Text in Prometheus' format 0.0.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusText(pub String);

impl IntoReply for PrometheusText {
    fn into_reply(self) -> Result<Reply, Fault> {
        Ok(Reply::Text(PROMETHEUS, self.0))
    }
}

takes_nothing! {
    /// What the machine is.
    Info -> VmInfo =
        Route::look(
            "/api/v1/vm.info",
            "infoVM",
            "Configuration, state and devices",
            &[Success::ok("What the machine is.", Content::Json(Body::of::<VmInfo>(&[examples::INFO])))],
        )
        .when(StateSet::EXISTS);

    /// What the machine did, in numbers.
    Counters -> VmCounters =
        Route::look(
            "/api/v1/vm.counters",
            "countersVM",
            "What devices and processors did, in numbers",
            &[Success::ok(
                "Counters since the last boot.",
                Content::Json(Body::of::<VmCounters>(&[plain(
                    r#"{"net0": {"reads": 49, "writes": 31}, "vcpu0": {"port_in": 75, "port_out": 163}}"#,
                )])),
            )],
        )
        .when(StateSet::ON);

    /// Everything that is measured.
    Metrics -> PrometheusText =
        Route::look(
            "/metrics",
            "metrics",
            "Everything that is measured, for Prometheus",
            &[Success::ok("Text format 0.0.4.", Content::Text(PROMETHEUS))],
        );
}

/// The legacy functions in detail.
#[derive(Clone, Debug, Default)]
pub struct Legacy {
    /// The one of this id; `None` for all.
    pub id: Option<String>,
}

impl Operation for Legacy {
    type Reply = Vec<LegacyDevice>;
    const ROUTE: Route = Route::look(
        "/api/v1/vm.legacy",
        "legacyVM",
        "The legacy virtio functions: registers, notifications, administration commands, faults",
        &[Success::ok("One entry for each.", Content::Json(Body::of::<Vec<LegacyDevice>>(&[examples::LEGACY])))],
    )
    .when(StateSet::ON)
    .asks(&[Parameter { name: "id", text: "This function alone.", example: "net0" }])
    .fails(&[Code::DeviceNotFound]);

    fn decode(call: Call) -> Result<Self, Fault> {
        Ok(Self { id: parameter(&call, "id")? })
    }
}

/// What is on the text screen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Screen {
    /// With the colours of each character.
    pub attributes: bool,
}

impl Operation for Screen {
    type Reply = VmScreen;
    const ROUTE: Route = Route::look(
        "/api/v1/vm.screen",
        "screenVM",
        "What is on the text screen",
        &[Success::ok("The screen.", Content::Json(Body::of::<VmScreen>(&[examples::SCREEN])))],
    )
    .says("For a machine that is off, this is the screen at its end.")
    .when(StateSet::of(&[VmState::Running, VmState::Paused, VmState::Shutdown]))
    .asks(&[Parameter { name: "attributes", text: "`true`: with the colours of each character.", example: "true" }])
    .fails(&[Code::InvalidField, Code::DeviceNotFound]);

    fn decode(call: Call) -> Result<Self, Fault> {
        let attributes = match parameter(&call, "attributes")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                let text = format!("'{other}' is neither 'true' nor 'false'");
                return Err(Fault::new(Code::InvalidField, text).at("attributes"));
            }
        };
        Ok(Self { attributes })
    }
}
