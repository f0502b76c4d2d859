// SPDX-License-Identifier: Apache-2.0
//! A trace's lines for people. Pure. There is no way back: a summary reads the JSON lines.

use std::fmt::{self, Display, Formatter};

use devices::spec::virtio::status::NAMES;
use devices::transitional::{DeviceType, feature_names};

use super::line::{Access, Dir, Line, Sent, Totals, kind};

/// How a readable trace begins.
pub const TEXT_HEAD: &str = "# heirloom legacy accesses";

/// Names of the bits of a status byte; `reset` for 0.
pub fn status_names(status: u8) -> String {
    if status == 0 {
        return "reset".to_owned();
    }
    let known = NAMES.iter().filter(|(bit, _)| status & bit != 0).map(|(_, name)| (*name).to_owned());
    let rest = status & !NAMES.iter().fold(0, |all, (bit, _)| all | bit);
    known.chain((rest != 0).then(|| format!("{rest:#x}"))).collect::<Vec<_>>().join(" ")
}

/// A time in nanoseconds, with the unit that suits it.
pub struct Span(pub u64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ns = self.0 as f64;
        let text = match self.0 {
            0..1_000 => format!("{} ns", self.0),
            1_000..1_000_000 => format!("{:.1} us", ns / 1e3),
            1_000_000..1_000_000_000 => format!("{:.1} ms", ns / 1e6),
            _ => format!("{:.2} s", ns / 1e9),
        };
        f.pad(&text)
    }
}

/// One line, without its end. `device` is the type of the device that it is about, where that is known.
pub fn text(line: &Line, device: Option<DeviceType>) -> String {
    let head = |t: u64, who: &str, what: &str| {
        format!("{:>5}.{:09} {:<6} {who:<10} {what}", t / 1_000_000_000, t % 1_000_000_000, "")
    };
    match line {
        Line::Start { started, .. } => format!("{TEXT_HEAD}; seconds since {started}"),
        Line::Device { t, device, kind } => head(*t, device, &format!("is a {kind} device")),
        Line::Access(access) => access_text(access, device),
        Line::Interrupt { t, device, isr, spurious } => {
            let why = if *spurious { ", in case one was lost" } else { "" };
            head(*t, device, &format!("interrupt (INTx), ISR |= {isr:#x}{why}"))
        }
        Line::Reset { t, device, what } => head(*t, device, &format!("reset of the {what}")),
        Line::Msix { t, device, enabled, command_count } => {
            let state = if *enabled { "on" } else { "off" };
            head(*t, device, &format!("MSI-X {state}, {command_count} commands"))
        }
        Line::Faulted { t, device, reason } => head(*t, device, &format!("OUT OF SERVICE: {}", printable(reason))),
        Line::Recovered { t, device } => head(*t, device, "back in service"),
        Line::Totals(totals) => head(totals.t, &totals.device, &totals_text(totals)),
        Line::Lost { t, count } => {
            head(*t, "-", &format!("{count} records were LOST: nobody was quick enough to write"))
        }
    }
}

/// Reasons come from errors of devices: no line breaks, no terminal controls.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn totals_text(totals: &Totals) -> String {
    format!(
        "total of its life: {} reads, {} writes, {} commands; kicks: {} without exit, {} stored, {} by command; \
         {} INTx, {} resets",
        totals.reads,
        totals.writes,
        totals.commands,
        totals.kicks_ioeventfd,
        totals.kicks_store,
        totals.kicks_admin,
        totals.intx,
        totals.resets
    )
}

fn access_text(access: &Access, device: Option<DeviceType>) -> String {
    let Access { t, vcpu, register, value, .. } = access;
    let digits = 2 * usize::from(access.width);
    let dir = match access.dir {
        Dir::Read => "read ",
        Dir::Write => "write",
    };
    let mut line = format!(
        "{:>5}.{:09} {:<6} {:<10} {dir} {:<2} {register:<20} 0x{value:0digits$x}",
        t / 1_000_000_000,
        t % 1_000_000_000,
        format!("vcpu{vcpu}"),
        access.device,
        access.offset,
    );
    let meaning = meaning(access, device);
    if !meaning.is_empty() {
        line += &format!(" ({meaning})");
    }
    line += &format!("  [{}] {}", sent_text(access), Span(access.latency_ns));
    if let Some(error) = &access.error {
        line += &format!("  ERROR: {}", printable(error));
    }
    line
}

/// What a value stands for.
fn meaning(access: &Access, device: Option<DeviceType>) -> String {
    match (access.register.as_str(), u32::try_from(access.value)) {
        ("device_status", Ok(value)) => status_names(value as u8),
        ("device_features" | "driver_features", Ok(value)) if access.width == 4 => {
            device.map_or_else(String::new, |device| feature_names(device, value).join(" "))
        }
        ("queue_address", Ok(pfn)) if access.width == 4 && pfn != 0 => format!("at {:#x}", u64::from(pfn) << 12),
        ("config_msix_vector" | "queue_msix_vector", Ok(0xffff)) => "none".to_owned(),
        _ => String::new(),
    }
}

fn sent_text(access: &Access) -> String {
    let name = match access.sent {
        Sent::Admin => {
            let one = |command: &super::line::Command| {
                let op = command.op.strip_prefix("legacy_").unwrap_or(&command.op);
                format!("{op} {}/{}", command.offset, command.width)
            };
            let mut text = access.commands.iter().map(one).collect::<Vec<_>>().join(", ");
            let more = usize::from(access.command_count).saturating_sub(access.commands.len());
            if more != 0 {
                text += &format!(", and {more} more");
            }
            return text;
        }
        Sent::Shadow => "shadow",
        Sent::Isr => "in software",
        Sent::Doorbell => "doorbell",
        Sent::Dropped => "dropped",
        Sent::Ignored => "ignored",
        Sent::OutOfService => "out of service",
    };
    name.to_owned()
}

/// Types of the devices that a trace has named so far.
#[derive(Debug, Default)]
pub struct Kinds(Vec<(String, Option<DeviceType>)>);

impl Kinds {
    /// Learns from a line that introduces a device.
    pub fn learn(&mut self, line: &Line) {
        let Line::Device { device, kind: name, .. } = line else { return };
        let kind = kind(name);
        match self.0.iter_mut().find(|(id, _)| id == device) {
            Some(known) => known.1 = kind,
            None => self.0.push((device.clone(), kind)),
        }
    }

    /// The type of a device.
    pub fn of(&self, line: &Line) -> Option<DeviceType> {
        let device = line.device_id()?;
        self.0.iter().find(|(id, _)| id == device)?.1
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
