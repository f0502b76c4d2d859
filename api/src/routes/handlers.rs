// SPDX-License-Identifier: Apache-2.0
//! What stands between a route and the [`Service`]: decode, call, encode.

use std::os::fd::OwnedFd;

use serde::Serialize;

use super::{Call, Reply};
use crate::service::{ProbeWhat, Service};
use crate::types::{VmRemoveDevice, VmmPing};
use crate::{Code, Fault, LegacyVirtioConfig, NetBackend, NewDevice, SoftDevice, decode, openapi};

type Result = std::result::Result<Reply, Fault>;

/// Media type of [`Service::metrics`].
pub const PROMETHEUS: &str = "text/plain; version=0.0.4";

fn json(value: &impl Serialize) -> Result {
    serde_json::to_vec(value).map(Reply::Json).map_err(|error| Fault::from_error(Code::Internal, &error))
}

/// The value of the one parameter of a route; empty counts as absent.
fn parameter(call: &Call, name: &'static str) -> std::result::Result<Option<String>, Fault> {
    let found = decode::query(&call.query, &[name])?;
    Ok(found.into_iter().map(|(_, value)| value).find(|value| !value.is_empty()))
}

/// Every descriptor must be referred to, and every reference must have one: a machine with another tap
/// than meant would be worse than none.
fn check_descriptors(devices: &[LegacyVirtioConfig], descriptors: &[OwnedFd]) -> std::result::Result<(), Fault> {
    let mut used = vec![false; descriptors.len()];
    let invalid = |message: String| Fault::new(Code::InvalidDescriptors, message);
    for (position, device) in devices.iter().enumerate() {
        let Some(SoftDevice::Net { backend: NetBackend::Fd(index), .. }) = &device.soft else { continue };
        let field = format!("legacy_virtio[{position}].soft.net.backend.fd");
        match usize::try_from(*index).ok().and_then(|index| used.get_mut(index)) {
            Some(taken @ false) => *taken = true,
            Some(_) => return Err(invalid(format!("descriptor {index} is used by two devices")).at(field)),
            None => {
                let message = format!("descriptor {index}: {} came with the request", descriptors.len());
                return Err(invalid(message).at(field));
            }
        }
    }
    match used.iter().position(|used| !used) {
        Some(index) => Err(invalid(format!("descriptor {index} came with the request and no device refers to it"))),
        None => Ok(()),
    }
}

pub fn ping(_: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let pid = std::process::id().into();
    json(&VmmPing { build_version: format!("v{version}"), version, pid, features: vec!["kvm".to_owned()] })
}

pub fn document(_: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    json(openapi::document())
}

pub fn create(service: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    let config = decode::config(decode::json(&call.body)?)?;
    check_descriptors(&config.legacy_virtio, &call.descriptors)?;
    service.vm_create(config, call.descriptors).map(|()| Reply::Empty)
}

pub fn add_device(service: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    let device = decode::device(decode::json(&call.body)?)?;
    let users = match &device {
        NewDevice::LegacyVirtio(device) => std::slice::from_ref(device),
        NewDevice::PassedThrough(_) => &[],
    };
    check_descriptors(users, &call.descriptors).map_err(|mut fault| {
        // The body is the device itself.
        fault.field = fault.field.map(|field| field.trim_start_matches("legacy_virtio[0].").to_owned());
        fault
    })?;
    match service.vm_add_device(device, call.descriptors)? {
        Some(device) => json(&device),
        None => Ok(Reply::Empty),
    }
}

pub fn remove_device(service: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    let VmRemoveDevice { id } = decode::typed(decode::json(&call.body)?)?;
    service.vm_remove_device(&id).map(|()| Reply::Empty)
}

pub fn info(service: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    json(&service.vm_info()?)
}

pub fn counters(service: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    json(&service.vm_counters()?)
}

pub fn legacy(service: &dyn Service, call: Call) -> Result {
    json(&service.vm_legacy(parameter(&call, "id")?.as_deref())?)
}

pub fn probe(service: &dyn Service, call: Call) -> Result {
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

pub fn metrics(service: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    service.metrics().map(|text| Reply::Text(PROMETHEUS, text))
}

pub fn events(service: &dyn Service, call: Call) -> Result {
    decode::query(&call.query, &[])?;
    service.events().map(Reply::Lines)
}

pub fn trace(service: &dyn Service, call: Call) -> Result {
    service.trace(parameter(&call, "id")?.as_deref()).map(Reply::Lines)
}

/// Handlers that pass nothing on and get nothing back.
macro_rules! plain {
    ($($name:ident => $method:ident),* $(,)?) => {$(
        pub fn $name(service: &dyn Service, call: Call) -> Result {
            decode::query(&call.query, &[])?;
            service.$method().map(|()| Reply::Empty)
        }
    )*};
}

plain! {
    boot => vm_boot,
    shutdown => vm_shutdown,
    reboot => vm_reboot,
    power_button => vm_power_button,
    pause => vm_pause,
    resume => vm_resume,
    delete => vm_delete,
    vmm_shutdown => vmm_shutdown,
}
