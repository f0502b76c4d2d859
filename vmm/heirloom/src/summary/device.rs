// SPDX-License-Identifier: Apache-2.0
//! One device over a whole trace: counts, latencies, and the lives of its drivers. Pure.

use std::collections::{BTreeMap, VecDeque};

use devices::transitional::DeviceType;
use serde::Serialize;

use super::latency::Latencies;
use super::life::{Life, Step};
use super::timeline::{Lane, Timeline};
use vmm::trace::line::{Access, Dir, Line, Sent, Totals, kind};

/// Lives that are listed one by one: this many from the start, and this many from the end.
const FIRST_LIVES: usize = 8;
const LAST_LIVES: usize = 8;
/// Registers and kinds of failure that are told apart, and incidents that are told one by one.
const MOST_NAMES: usize = 128;
const MOST_INCIDENTS: usize = 32;

/// Accesses to one register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RegisterUse {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Admin commands for both.
    pub commands: u64,
}

/// One device.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Device {
    /// Its id.
    pub id: String,
    /// Its type; unknown if the trace does not say it.
    pub kind: Option<DeviceType>,
    /// Reads of BAR0.
    pub reads: u64,
    /// Writes of BAR0.
    pub writes: u64,
    /// Admin commands for them.
    pub commands: u64,
    /// Kicks that exited, by how they went on.
    pub kicks_doorbell: u64,
    /// Kicks by a command.
    pub kicks_admin: u64,
    /// Kicks of queues that were not set up.
    pub kicks_dropped: u64,
    /// Reads of the interrupt status.
    pub isr_reads: u64,
    /// Those among them that found a bit.
    pub isr_hits: u64,
    /// Interrupts on the line.
    pub interrupts: u64,
    /// Resets of the device by its driver.
    pub resets: u64,
    /// Resets of the function that these needed.
    pub function_resets: u64,
    /// Resets of the machine, its end included.
    pub machine_resets: u64,
    /// Accesses of which a command failed, by kind of failure.
    pub errors: BTreeMap<String, u64>,
    /// How often it went out of service.
    pub faults: u64,
    /// Faults, recoveries and losses, in order; the earliest of them.
    pub incidents: Vec<Step>,
    /// Latency of accesses, by who answered.
    pub latency_ns: BTreeMap<Sent, Latencies>,
    /// Accesses by register.
    pub registers: BTreeMap<String, RegisterUse>,
    /// Lives of its drivers: the first 8 and the last 8.
    pub lives: Vec<Life>,
    /// Lives between these that are left out.
    pub lives_left_out: u64,
    /// What the functions counted themselves, for each machine that ended: the kicks without an exit are there.
    pub totals: Option<Totals>,
    /// For the picture.
    #[serde(skip)]
    pub timeline: Timeline,
    #[serde(skip)]
    last: VecDeque<Life>,
    #[serde(skip)]
    life: Life,
    #[serde(skip)]
    msix: bool,
}

impl Device {
    /// A device that appears at `t`.
    pub(crate) fn new(id: &str, t: u64) -> Self {
        Self { id: id.to_owned(), life: Life::new(t, false), ..Self::default() }
    }

    /// A line about it.
    pub(crate) fn add(&mut self, line: &Line) {
        match line {
            Line::Device { kind: name, .. } => self.kind = kind(name),
            Line::Access(access) => self.access(access),
            Line::Interrupt { t, spurious, .. } => {
                self.interrupts += 1;
                self.life.interrupts += 1;
                let label = if *spurious { "spurious" } else { "" };
                self.timeline.mark(Lane::Interrupts, *t, label);
            }
            Line::Reset { t, what, .. } => self.was_reset(*t, what),
            Line::Msix { t, enabled, .. } => {
                self.msix = *enabled;
                self.life.msix(*t, *enabled);
                self.timeline.mark(Lane::Vectors, *t, if *enabled { "MSI-X on" } else { "MSI-X off" });
            }
            Line::Faulted { t, reason, .. } => {
                self.faults += 1;
                self.incident(*t, format!("out of service: {reason}"));
                self.timeline.mark(Lane::Faults, *t, "out of service");
            }
            Line::Recovered { t, .. } => {
                self.incident(*t, "back in service".to_owned());
                self.timeline.mark(Lane::Faults, *t, "back");
            }
            Line::Totals(totals) => self.add_totals(totals),
            Line::Start { .. } | Line::Lost { .. } => {}
        }
    }

    /// Records were lost about this time.
    pub(crate) fn lost(&mut self, t: u64) {
        self.incident(t, "records were lost about here".to_owned());
        self.timeline.mark(Lane::Faults, t, "records lost");
    }

    /// The trace ends.
    pub(crate) fn finish(&mut self, t: u64) {
        let life = std::mem::take(&mut self.life);
        if !life.is_blank() {
            self.keep(life);
        }
        self.lives.extend(self.last.drain(..));
        let kind = self.kind;
        self.lives.iter_mut().for_each(|life| life.name_features(kind));
        self.timeline.finish(t, &self.lives);
    }

    /// Which driver it looks like, by the life that came last of those that say so.
    pub(crate) fn looks_like(&self) -> Option<&'static str> {
        self.lives.iter().rev().find_map(|life| life.looks_like)
    }

    fn access(&mut self, access: &Access) {
        self.count(access);
        if access.register == "device_status" && access.dir == Dir::Write && access.value & 0xff == 0 {
            self.resets += 1;
            self.begin_life(access.t, "reset by the driver");
            self.life.reset(access.t);
            self.timeline.mark(Lane::Status, access.t, "reset");
            return;
        }
        let step = self.life.access(access, self.kind);
        self.timeline.access(access, step.as_deref());
    }

    fn count(&mut self, access: &Access) {
        match access.dir {
            Dir::Read => self.reads += 1,
            Dir::Write => self.writes += 1,
        }
        self.commands += u64::from(access.command_count);
        if access.register == "queue_notify" && access.dir == Dir::Write {
            match access.sent {
                Sent::Doorbell => self.kicks_doorbell += 1,
                Sent::Admin => self.kicks_admin += 1,
                _ => self.kicks_dropped += 1,
            }
        }
        if access.register == "isr_status" && access.dir == Dir::Read {
            self.isr_reads += 1;
            self.isr_hits += u64::from(access.value & 0xff != 0);
        }
        self.latency_ns.entry(access.sent).or_default().add(access.latency_ns);
        if let Some(error) = &access.error {
            *bounded(&mut self.errors, error) += 1;
            self.timeline.mark(Lane::Faults, access.t, "error");
        }
        let register = if access.register.starts_with("config.") { "device_config" } else { &access.register };
        let used = bounded(&mut self.registers, register);
        match access.dir {
            Dir::Read => used.reads += 1,
            Dir::Write => used.writes += 1,
        }
        used.commands += u64::from(access.command_count);
    }

    fn was_reset(&mut self, t: u64, what: &str) {
        match what {
            // The driver's access says so, too.
            "device" => {}
            "function" => {
                self.function_resets += 1;
                self.incident(t, "reset of the function".to_owned());
                self.timeline.mark(Lane::Faults, t, "function reset");
            }
            _ => {
                self.machine_resets += 1;
                self.begin_life(t, "reset or end of the machine");
                self.msix = false;
                self.life.msix = false;
                self.timeline.mark(Lane::Status, t, "machine reset");
            }
        }
    }

    /// The life so far ends, unless there was none.
    fn begin_life(&mut self, t: u64, by: &'static str) {
        if self.life.is_blank() {
            return;
        }
        let mut life = std::mem::replace(&mut self.life, Life::new(t, self.msix));
        life.end(t, by, self.kind);
        self.keep(life);
    }

    fn keep(&mut self, life: Life) {
        if self.lives.len() < FIRST_LIVES {
            self.lives.push(life);
            return;
        }
        self.last.push_back(life);
        if self.last.len() > LAST_LIVES {
            self.last.pop_front();
            self.lives_left_out += 1;
        }
    }

    fn incident(&mut self, t: u64, what: String) {
        if self.incidents.len() < MOST_INCIDENTS {
            self.incidents.push(Step { t, what });
        }
    }

    fn add_totals(&mut self, more: &Totals) {
        let totals = self.totals.get_or_insert_with(|| Totals { device: self.id.clone(), ..Totals::default() });
        totals.t = more.t;
        let pairs = [
            (&mut totals.reads, more.reads),
            (&mut totals.writes, more.writes),
            (&mut totals.commands, more.commands),
            (&mut totals.kicks_ioeventfd, more.kicks_ioeventfd),
            (&mut totals.kicks_store, more.kicks_store),
            (&mut totals.kicks_admin, more.kicks_admin),
            (&mut totals.intx, more.intx),
            (&mut totals.resets, more.resets),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
    }
}

/// The entry of that name; names come from a file, so there is an end to how many are told apart.
fn bounded<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    let name = if map.len() < MOST_NAMES || map.contains_key(name) { name } else { "others" };
    map.entry(name.to_owned()).or_default()
}
