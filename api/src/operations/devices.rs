// SPDX-License-Identifier: Apache-2.0
//! Operations on the devices of the virtual machine.

use std::os::fd::OwnedFd;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{IntoReply, Operation, descriptors, examples, json, plain};
use crate::routes::{Body, Call, Content, Reply, Route, Success};
use crate::state::StateSet;
use crate::types::PciDeviceInfo;
use crate::{Code, Fault, NewDevice, decode};

/// Adds a device.
#[derive(Debug)]
pub struct AddDevice {
    /// The device.
    pub device: NewDevice,
    /// Came with the request; the device refers to one of them by its place.
    pub descriptors: Vec<OwnedFd>,
}

impl<D: Into<NewDevice>> From<D> for AddDevice {
    fn from(device: D) -> Self {
        Self { device: device.into(), descriptors: Vec::new() }
    }
}

/// A device that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedDevice {
    /// Its id, given out where the request had none.
    pub id: String,
    /// Its PCI address, if the guest has it at once. Else the guest finds it at its next boot.
    pub bdf: Option<String>,
}

impl IntoReply for AddedDevice {
    fn into_reply(self) -> Result<Reply, Fault> {
        match self.bdf {
            Some(bdf) => json(&PciDeviceInfo { id: self.id, bdf }),
            None => Ok(Reply::Empty),
        }
    }
}

impl Operation for AddDevice {
    type Reply = AddedDevice;
    const ROUTE: Route = Route::change(
        "/api/v1/vm.add-device",
        "addDeviceVM",
        "Add a legacy virtio function, or a function passed through",
    )
    .says("Works while the machine is not running; the guest finds the device at its next boot. File descriptors as with `vm.create`.")
    .when(StateSet::OFF)
    .takes(Body::device(examples::DEVICES))
    .takes_descriptors()
    .answers(&[
        Success::ok(
            "The guest has it now. Reserved: today nothing answers this.",
            Content::Json(Body::of::<PciDeviceInfo>(&[plain(r#"{"id": "net0", "bdf": "0000:00:01.0"}"#)])),
        ),
        Success { status: 204, text: "The guest finds it at its next boot.", content: Content::Empty },
    ])
    .fails(&[Code::InvalidConfig, Code::FileUnusable, Code::DuplicateId]);

    fn decode(call: Call) -> Result<Self, Fault> {
        decode::query(&call.query, &[])?;
        let device = decode::device(decode::json(&call.body)?)?;
        let users = match &device {
            NewDevice::LegacyVirtio(device) => std::slice::from_ref(device),
            NewDevice::PassedThrough(_) => &[],
        };
        descriptors::check(users, &call.descriptors).map_err(|mut fault| {
            // The body is the device itself.
            fault.field = fault.field.map(|field| field.trim_start_matches("legacy_virtio[0].").to_owned());
            fault
        })?;
        Ok(Self { device, descriptors: call.descriptors })
    }
}

/// Takes a device away. Also the body of `vm.remove-device`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VmRemoveDevice", description = "Body of `vm.remove-device`.")]
pub struct RemoveDevice {
    /// Id of the device.
    pub id: String,
}

impl Operation for RemoveDevice {
    type Reply = ();
    const ROUTE: Route = Route::change("/api/v1/vm.remove-device", "removeDeviceVM", "Take a device away")
        .says("Works while the machine is not running.")
        .when(StateSet::OFF)
        .takes(Body::of::<Self>(&[plain(r#"{"id": "net0"}"#)]))
        .fails(&[Code::DeviceNotFound]);

    fn decode(call: Call) -> Result<Self, Fault> {
        decode::query(&call.query, &[])?;
        decode::typed(decode::json(&call.body)?)
    }
}
