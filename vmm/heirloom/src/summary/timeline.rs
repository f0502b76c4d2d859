// SPDX-License-Identifier: Apache-2.0
//! What the picture of a device shows: marks in lanes, and phases. Pure; the number of marks has a limit, which is
//! kept by joining marks of traffic and by leaving out what is over it.

use super::life::Life;
use vmm::trace::line::{Access, Dir};

/// Marks of one device.
const MOST_MARKS: usize = 1500;
/// Traffic that pauses for longer gets a new mark.
const PAUSE_NS: u64 = 50_000_000;

/// A line of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Status writes.
    Status,
    /// Features read and accepted.
    Features,
    /// Device configuration.
    Config,
    /// Queues set up and taken down.
    Queues,
    /// Vectors, and MSI-X on and off.
    Vectors,
    /// Kicks that exit.
    Kicks,
    /// Interrupts on the line.
    Interrupts,
    /// Reads of the interrupt status.
    Isr,
    /// Errors, faults, losses.
    Faults,
}

impl Lane {
    /// All, from top to bottom.
    pub(crate) const ALL: [Self; 9] = [
        Self::Status,
        Self::Features,
        Self::Config,
        Self::Queues,
        Self::Vectors,
        Self::Kicks,
        Self::Interrupts,
        Self::Isr,
        Self::Faults,
    ];

    /// Its caption.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Features => "features",
            Self::Config => "device config",
            Self::Queues => "queues",
            Self::Vectors => "MSI-X",
            Self::Kicks => "kicks (exits)",
            Self::Interrupts => "INTx raised",
            Self::Isr => "ISR reads",
            Self::Faults => "failures",
        }
    }

    /// Whether marks of it are joined.
    const fn is_traffic(self) -> bool {
        matches!(self, Self::Config | Self::Kicks | Self::Interrupts | Self::Isr)
    }
}

/// Something that happened, or happened several times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where.
    pub lane: Lane,
    /// When it happened first.
    pub from: u64,
    /// When it happened last.
    pub to: u64,
    /// How often.
    pub count: u64,
    /// What to write beside it.
    pub label: String,
}

/// A stretch of a life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub to: u64,
    /// Whether the driver was ready.
    pub runs: bool,
    /// What to write into it.
    pub label: String,
}

/// The picture of one device.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// Marks in the order in which they began.
    pub marks: Vec<Mark>,
    /// Marks that are left out.
    pub left_out: u64,
    /// Probes and runs.
    pub phases: Vec<Phase>,
    /// Index of the mark that came last in each lane, and of the last that is not traffic.
    last: [Option<usize>; Lane::ALL.len()],
    last_step: Option<usize>,
}

impl Timeline {
    /// One access; `step` says what it is for the driver's probe, if it is a step of it.
    pub(crate) fn access(&mut self, access: &Access, step: Option<&str>) {
        let (lane, label) = match (access.register.as_str(), access.dir) {
            ("device_status", Dir::Write) => (Lane::Status, status_label(access.value as u8)),
            ("device_features", Dir::Read) => (Lane::Features, "read".to_owned()),
            ("driver_features", Dir::Write) => (Lane::Features, format!("accept {:#x}", access.value)),
            ("queue_address", Dir::Write) => match step {
                Some(step) => (Lane::Queues, step.to_owned()),
                None => return,
            },
            ("queue_msix_vector" | "config_msix_vector", Dir::Write) => {
                let who = if access.register.starts_with("config") { "config vector" } else { "vector" };
                let vector = if access.value == 0xffff { "none".to_owned() } else { access.value.to_string() };
                (Lane::Vectors, format!("{who} {vector}"))
            }
            ("queue_notify", Dir::Write) => (Lane::Kicks, String::new()),
            ("isr_status", Dir::Read) => (Lane::Isr, String::new()),
            (register, _) if register.starts_with("config.") => (Lane::Config, String::new()),
            _ => return,
        };
        self.mark(lane, access.t, &label);
    }

    /// Something happened.
    pub(crate) fn mark(&mut self, lane: Lane, t: u64, label: &str) {
        let lane_index = lane as usize;
        let is_full = self.marks.len() >= MOST_MARKS;
        if lane.is_traffic()
            && let Some(last) = self.last.get(lane_index).copied().flatten()
            && let Some(mark) = self.marks.get_mut(last)
            && (is_full || (self.last_step.is_none_or(|step| step < last) && t.saturating_sub(mark.to) <= PAUSE_NS))
        {
            mark.to = mark.to.max(t);
            mark.count += 1;
            return;
        }
        if is_full {
            self.left_out += 1;
            return;
        }
        if !lane.is_traffic() {
            self.last_step = Some(self.marks.len());
        }
        if let Some(last) = self.last.get_mut(lane_index) {
            *last = Some(self.marks.len());
        }
        self.marks.push(Mark { lane, from: t, to: t, count: 1, label: label.to_owned() });
    }

    /// The trace ends at `t`: phases from the lives.
    pub(crate) fn finish(&mut self, t: u64, lives: &[Life]) {
        for (number, life) in (1..).zip(lives) {
            let end = life.ended.map_or(t, |(end, _)| end);
            let ready = life.driver_ok.unwrap_or(end);
            let label = format!("probe {number}");
            self.phases.push(Phase { from: life.begun, to: ready, runs: false, label });
            if life.driver_ok.is_some() {
                let label = life.looks_like.map_or_else(|| "runs".to_owned(), |driver| format!("runs: {driver}"));
                self.phases.push(Phase { from: ready, to: end, runs: true, label });
            }
        }
    }
}

/// Short, for the picture.
fn status_label(status: u8) -> String {
    match status {
        0 => "reset".to_owned(),
        1 => "ACK".to_owned(),
        2 | 3 => "DRIVER".to_owned(),
        6 | 7 => "DRIVER_OK".to_owned(),
        status if status & 0x80 != 0 => "FAILED".to_owned(),
        status => format!("{status:#04x}"),
    }
}
