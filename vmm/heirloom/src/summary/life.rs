// SPDX-License-Identifier: Apache-2.0
//! One life of a driver on a device: from a reset, through its probe, to the next reset. Pure.

use std::collections::BTreeMap;

use devices::transitional::{DeviceType, feature_names};
use serde::Serialize;

use super::driver::{self, Token};
use devices::spec::virtio::NO_VECTOR;
use devices::spec::virtio::status::DRIVER_OK;
use vmm::trace::line::{Access, Dir, Sent};
use vmm::trace::status_names;

/// Steps, queues and tokens that are kept of one life.
const MOST_STEPS: usize = 48;
const MOST_QUEUES: usize = 1024;
const MOST_TOKENS: usize = 1024;

/// One thing that a driver did while it set its device up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// When.
    pub t: u64,
    /// What.
    pub what: String,
}

/// A queue that was set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Queue {
    /// Entries, if the driver asked.
    pub size: Option<u16>,
    /// Guest address of its ring; 0 if it has none.
    pub address: u64,
    /// Its MSI-X vector.
    pub vector: Option<u16>,
}

/// One life.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Life {
    /// When it began.
    pub begun: u64,
    /// Whether it began with a reset by the driver; else with the trace, or after a reset of the machine.
    pub begun_by_reset: bool,
    /// When it ended, and by what.
    pub ended: Option<(u64, &'static str)>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// Steps that are left out here.
    pub steps_left_out: u64,
    /// Features that the device offered, and their names.
    pub offered: Option<u32>,
    /// Names of these.
    pub offered_names: Vec<String>,
    /// Features that the driver accepted, and their names.
    pub accepted: Option<u32>,
    /// Names of these.
    pub accepted_names: Vec<String>,
    /// Queues with an address or a size, by index.
    pub queues: BTreeMap<u16, Queue>,
    /// MSI-X vector for configuration changes.
    pub config_vector: Option<u16>,
    /// Whether MSI-X was on when the driver said DRIVER_OK, or last if it did not.
    pub msix: bool,
    /// When the driver said DRIVER_OK.
    pub driver_ok: Option<u64>,
    /// Accesses, and admin commands for them, until then.
    pub probe_accesses: u64,
    /// Commands until then.
    pub probe_commands: u64,
    /// Accesses in all.
    pub accesses: u64,
    /// Kicks that exited.
    pub kicks: u64,
    /// Those before DRIVER_OK.
    pub early_kicks: u64,
    /// Reads of the interrupt status, and those among them that found a bit.
    pub isr_reads: u64,
    /// Those that found a bit.
    pub isr_hits: u64,
    /// Interrupts on the line.
    pub interrupts: u64,
    /// Which driver's probe it looks like.
    pub looks_like: Option<&'static str>,
    /// What it has of the orders in which old systems start a device.
    pub old_order: Option<&'static str>,
    #[serde(skip)]
    tokens: Vec<Token>,
    #[serde(skip)]
    selected: u16,
    #[serde(skip)]
    pfn_half: Option<u32>,
    /// Whether the driver set anything up.
    #[serde(skip)]
    has_writes: bool,
}

impl Life {
    /// A life that begins now.
    pub(crate) fn new(t: u64, msix: bool) -> Self {
        Self { begun: t, msix, ..Self::default() }
    }

    /// Whether nothing but looking, resets and taking down has happened: the next reset belongs to the same probe.
    pub(crate) fn is_blank(&self) -> bool {
        !self.has_writes
    }

    /// The driver resets the device to begin.
    pub(crate) fn reset(&mut self, t: u64) {
        if self.offered.is_none() {
            // What came before was the end of an earlier driver.
            (self.begun, self.begun_by_reset) = (t, true);
            self.steps.clear();
        }
        self.token(Token::Reset);
        self.step(t, "reset".to_owned());
    }

    /// One access that is not a reset; returns the step that it is, if it is one.
    pub(crate) fn access(&mut self, access: &Access, device: Option<DeviceType>) -> Option<String> {
        self.accesses += 1;
        if self.driver_ok.is_none() {
            self.probe_accesses += 1;
            self.probe_commands += u64::from(access.command_count);
        }
        let step = match (access.register.as_str(), access.dir) {
            ("device_features", Dir::Read) => self.features_read(access),
            ("driver_features", Dir::Write) => self.features_written(access),
            ("queue_select", Dir::Write) => {
                (self.selected, self.pfn_half) = (access.value as u16, None);
                None
            }
            ("queue_size", Dir::Read) => {
                self.size_read(access.value as u16);
                None
            }
            ("queue_address", Dir::Write) => self.address_written(access),
            ("queue_msix_vector", Dir::Read | Dir::Write) => self.queue_vector(access),
            ("config_msix_vector", Dir::Read | Dir::Write) => self.config_vector(access),
            ("device_status", Dir::Read) => {
                self.token(Token::StatusRead);
                None
            }
            ("device_status", Dir::Write) => self.status_written(access, device),
            ("isr_status", Dir::Read) => {
                self.token(Token::IsrRead);
                self.isr_reads += 1;
                self.isr_hits += u64::from(access.value & 0xff != 0);
                None
            }
            ("queue_notify", Dir::Write) => self.kicked(access),
            (register, Dir::Read) if register.starts_with("config.") => {
                self.token(Token::ConfigRead(access.width));
                None
            }
            _ => None,
        };
        self.has_writes |= access.dir == Dir::Write && sets_up(access);
        if let Some(what) = &step {
            self.step(access.t, what.clone());
        }
        step
    }

    /// The guest switched MSI-X.
    pub(crate) fn msix(&mut self, t: u64, enabled: bool) {
        if self.driver_ok.is_none() {
            self.msix = enabled;
        }
        self.step(t, format!("MSI-X {}", if enabled { "on" } else { "off" }));
    }

    /// It is over.
    pub(crate) fn end(&mut self, t: u64, by: &'static str, device: Option<DeviceType>) {
        self.ended.get_or_insert((t, by));
        self.name_features(device);
        self.tokens = Vec::new();
        self.queues.retain(|_, queue| queue.address != 0 || queue.size.is_some_and(|size| size != 0));
    }

    /// Names for the features, in case the trace ends here.
    pub(crate) fn name_features(&mut self, device: Option<DeviceType>) {
        let names = |features: Option<u32>| match (device, features) {
            (Some(device), Some(features)) => feature_names(device, features),
            _ => Vec::new(),
        };
        (self.offered_names, self.accepted_names) = (names(self.offered), names(self.accepted));
    }

    fn step(&mut self, t: u64, what: String) {
        if self.steps.len() < MOST_STEPS {
            self.steps.push(Step { t, what });
        } else {
            self.steps_left_out += 1;
        }
    }

    fn token(&mut self, token: Token) {
        if self.driver_ok.is_none() && self.tokens.len() < MOST_TOKENS {
            self.tokens.push(token);
        }
    }

    fn features_read(&mut self, access: &Access) -> Option<String> {
        self.token(Token::FeaturesRead);
        if access.width != 4 || access.offset != 0 {
            return None;
        }
        let is_news = self.offered.replace(access.value as u32).is_none();
        is_news.then(|| "reads the features".to_owned())
    }

    fn features_written(&mut self, access: &Access) -> Option<String> {
        self.token(Token::FeaturesWrite);
        let skip = access.offset.saturating_sub(4).min(3) as u32;
        let ones: u32 = if access.width >= 4 { u32::MAX } else { (1 << (8 * u32::from(access.width.min(3)))) - 1 };
        let old = self.accepted.unwrap_or(0);
        self.accepted = Some(old & !(ones << (8 * skip)) | (access.value as u32 & ones) << (8 * skip));
        Some("accepts features".to_owned())
    }

    fn queue(&mut self) -> Option<&mut Queue> {
        if self.queues.len() >= MOST_QUEUES && !self.queues.contains_key(&self.selected) {
            return None;
        }
        Some(self.queues.entry(self.selected).or_default())
    }

    fn size_read(&mut self, size: u16) {
        if let Some(queue) = self.queue() {
            queue.size = Some(size);
        }
    }

    fn address_written(&mut self, access: &Access) -> Option<String> {
        let value = access.value as u32;
        let pfn = match (access.width, access.offset) {
            (4, 8) => value,
            (2, 8) => {
                self.pfn_half = Some(value & 0xffff);
                return None;
            }
            (2, 10) => self.pfn_half.take()? | (value & 0xffff) << 16,
            _ => return None,
        };
        let (index, address) = (self.selected, u64::from(pfn) << 12);
        if pfn != 0 {
            self.token(Token::Queue(index));
        }
        let queue = self.queue()?;
        let was_there = std::mem::replace(&mut queue.address, address) != 0;
        let size = queue.size.map_or_else(String::new, |size| format!(", {size} entries"));
        match (pfn, was_there) {
            (0, false) => None,
            (0, true) => Some(format!("takes queue {index} down")),
            _ => Some(format!("queue {index} at {address:#x}{size}")),
        }
    }

    fn queue_vector(&mut self, access: &Access) -> Option<String> {
        let index = self.selected;
        let vector = (access.value != u64::from(NO_VECTOR)).then_some(access.value as u16);
        if access.dir == Dir::Write && vector.is_some() {
            self.token(Token::QueueVector(index));
        }
        let queue = self.queue()?;
        let asked = std::mem::replace(&mut queue.vector, vector);
        match (access.dir, asked, vector) {
            (Dir::Read, Some(asked), None) => Some(format!("queue {index} is refused vector {asked}")),
            _ => None,
        }
    }

    fn config_vector(&mut self, access: &Access) -> Option<String> {
        let vector = (access.value != u64::from(NO_VECTOR)).then_some(access.value as u16);
        if access.dir == Dir::Write && vector.is_some() {
            self.token(Token::ConfigVector);
        }
        let asked = std::mem::replace(&mut self.config_vector, vector);
        match (access.dir, asked, vector) {
            (Dir::Read, Some(asked), None) => Some(format!("vector {asked} for configuration changes is refused")),
            _ => None,
        }
    }

    fn status_written(&mut self, access: &Access, device: Option<DeviceType>) -> Option<String> {
        let status = access.value as u8;
        self.token(Token::Status(status));
        if status & DRIVER_OK != 0 && self.driver_ok.is_none() {
            self.driver_ok = Some(access.t);
            let complete = self.tokens.len() < MOST_TOKENS;
            let tokens = std::mem::take(&mut self.tokens);
            self.looks_like = device.filter(|_| complete).and_then(|device| driver::looks_like(device, &tokens));
            self.old_order = driver::old_order(&tokens).filter(|_| complete);
        }
        Some(format!("status {}", status_names(status)))
    }

    fn kicked(&mut self, access: &Access) -> Option<String> {
        let is_news = self.kicks == 0;
        self.kicks += 1;
        self.token(Token::Kick);
        if self.driver_ok.is_none() {
            self.early_kicks += 1;
        }
        let dropped = if access.sent == Sent::Dropped { ", which is not set up" } else { "" };
        is_news.then(|| format!("kicks queue {}{dropped}", access.value as u16))
    }
}

/// Whether a write is one of a driver that comes, not of one that leaves.
fn sets_up(access: &Access) -> bool {
    match access.register.as_str() {
        "driver_features" | "device_status" | "queue_notify" => true,
        "queue_address" => access.value != 0,
        register => register.starts_with("config."),
    }
}
