// SPDX-License-Identifier: Apache-2.0
//! Which known driver a probe looks like. Pure.
//!
//! A driver is named only if all that its rule asks for is there; else nothing is said. What the rules ask for is
//! what the drivers do in `devices::transitional::replay`, whose traces the tests of this module read. A driver of
//! another make may do the same: "looks like", not "is".

use devices::transitional::DeviceType;

/// An access of a probe, as far as a rule asks for it. Selecting queues and reading their sizes and addresses is
/// what everybody does, and left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Status 0.
    Reset,
    /// Another status.
    Status(u8),
    /// The status is read.
    StatusRead,
    /// The device's features are read.
    FeaturesRead,
    /// The driver's are written.
    FeaturesWrite,
    /// This many bytes of device configuration are read.
    ConfigRead(u8),
    /// A queue gets an address.
    Queue(u16),
    /// A queue gets a vector.
    QueueVector(u16),
    /// Configuration changes get a vector.
    ConfigVector,
    /// A queue is kicked.
    Kick,
    /// The interrupt status is read.
    IsrRead,
}

/// What rules ask of a probe.
struct Probe<'a> {
    tokens: &'a [Token],
    statuses: Vec<u8>,
}

impl<'a> Probe<'a> {
    fn of(tokens: &'a [Token]) -> Self {
        let status = |token: &Token| match token {
            Token::Status(status) => Some(*status),
            _ => None,
        };
        Self { tokens, statuses: tokens.iter().filter_map(status).collect() }
    }

    fn place(&self, wanted: impl Fn(&Token) -> bool) -> Option<usize> {
        self.tokens.iter().position(wanted)
    }

    fn last_place(&self, wanted: impl Fn(&Token) -> bool) -> Option<usize> {
        self.tokens.iter().rposition(wanted)
    }

    /// `first` is there, and all of it before all of `then`, which is there.
    fn all_before(&self, first: impl Fn(&Token) -> bool, then: impl Fn(&Token) -> bool) -> bool {
        matches!((self.last_place(first), self.place(then)), (Some(first), Some(then)) if first < then)
    }

    /// Each status is written right after it was read.
    fn reads_status_before_writing(&self) -> bool {
        self.tokens.windows(2).all(|pair| !matches!(pair, [before, Token::Status(_)] if *before != Token::StatusRead))
            && !matches!(self.tokens.first(), Some(Token::Status(_)))
    }

    /// Features are written right after they were read.
    fn accepts_at_once(&self) -> bool {
        self.tokens.windows(2).any(|pair| *pair == [Token::FeaturesRead, Token::FeaturesWrite])
    }

    /// Configuration is read between the features' read and their write, byte by byte.
    fn decides_by_configuration(&self) -> bool {
        let (Some(read), Some(written)) =
            (self.place(|t| *t == Token::FeaturesRead), self.place(|t| *t == Token::FeaturesWrite))
        else {
            return false;
        };
        let between = self.tokens.get(read + 1..written).unwrap_or(&[]);
        !between.is_empty() && between.iter().all(|token| *token == Token::ConfigRead(1))
    }

    /// Features are read before the queues, and not written before they are in use: in the orders of Linux before 2.6.31
    /// the driver's probe comes between.
    fn accepts_after_queues(&self) -> bool {
        let written = self.place(|t| *t == Token::FeaturesWrite).unwrap_or(usize::MAX);
        match (self.place(|t| *t == Token::FeaturesRead), self.place(is_queue), self.last_place(is_queue)) {
            (Some(read), Some(first), Some(last)) => read < first && last < written,
            _ => false,
        }
    }

    fn kicks(&self) -> bool {
        self.place(|t| *t == Token::Kick).is_some()
    }

    fn reads_configuration_by_bytes(&self) -> bool {
        self.tokens.iter().all(|token| !matches!(token, Token::ConfigRead(width) if *width != 1))
    }

    /// How often the status is read between the last reset and the status after it.
    fn looks_after_reset(&self) -> usize {
        let Some(reset) = self.last_place(|t| *t == Token::Reset) else { return 0 };
        let after = self.tokens.iter().skip(reset + 1);
        after.take_while(|token| !matches!(token, Token::Status(_))).filter(|t| **t == Token::StatusRead).count()
    }

    /// Each queue's vector comes right after its address.
    fn sets_vectors_with_queues(&self) -> bool {
        let with_queue = |at: usize, queue: u16| {
            at.checked_sub(1).and_then(|before| self.tokens.get(before)) == Some(&Token::Queue(queue))
        };
        self.tokens.iter().enumerate().all(|(at, token)| match token {
            Token::QueueVector(queue) => with_queue(at, *queue),
            _ => true,
        })
    }
}

fn is_queue(token: &Token) -> bool {
    matches!(token, Token::Queue(_))
}

fn is_queue_vector(token: &Token) -> bool {
    matches!(token, Token::QueueVector(_))
}

fn is_config_vector(token: &Token) -> bool {
    *token == Token::ConfigVector
}

/// What these tokens, up to DRIVER_OK, have of the orders in which old systems start a device: both make early kicks,
/// which a device may ignore.
pub(super) fn old_order(tokens: &[Token]) -> Option<&'static str> {
    let probe = Probe::of(tokens);
    let is_system = probe.statuses == [1, 3, 7] && probe.reads_status_before_writing();
    if is_system && probe.accepts_after_queues() {
        return Some("features after the driver's probe, as Linux before 2.6.31");
    }
    let used = |token: &Token| *token == Token::Kick;
    probe.all_before(is_queue, used).then_some("DRIVER_OK after the driver's probe, as Linux before 3.19 and firmware")
}

/// The driver whose probe these tokens look like, up to DRIVER_OK.
pub(super) fn looks_like(device: DeviceType, tokens: &[Token]) -> Option<&'static str> {
    let probe = Probe::of(tokens);
    match probe.statuses.as_slice() {
        [6] => ipxe(device, &probe),
        [3, 7] => seabios(device, &probe),
        [1, 3, 7] if probe.reads_status_before_writing() => system(device, &probe),
        _ => None,
    }
}

/// Queues and a kick before features and status, and no ACKNOWLEDGE ever.
fn ipxe(device: DeviceType, probe: &Probe<'_>) -> Option<&'static str> {
    let is_write = |t: &Token| *t == Token::FeaturesWrite;
    let early = probe.all_before(is_queue, is_write) && probe.all_before(|t| *t == Token::Kick, is_write);
    (device == DeviceType::Net && early && probe.place(is_queue_vector).is_none()).then_some("iPXE before 2026")
}

/// ACKNOWLEDGE and DRIVER in one write, the status never read, no features accepted, no vectors.
fn seabios(device: DeviceType, probe: &Probe<'_>) -> Option<&'static str> {
    let absent = [Token::StatusRead, Token::FeaturesWrite, Token::ConfigVector];
    let fits = probe.place(|token| absent.contains(token) || is_queue_vector(token)).is_none()
        && probe.tokens.windows(2).any(|pair| *pair == [Token::Reset, Token::IsrRead]);
    (matches!(device, DeviceType::Block | DeviceType::Scsi) && fits).then_some("SeaBIOS")
}

/// Drivers of systems, by the order of features, queues and vectors.
fn system(device: DeviceType, probe: &Probe<'_>) -> Option<&'static str> {
    probe.place(is_queue)?;
    let has_vectors = probe.place(is_queue_vector).is_some() || probe.place(is_config_vector).is_some();
    if probe.decides_by_configuration() {
        let order = !has_vectors
            || probe.all_before(is_queue, is_queue_vector) && probe.all_before(is_queue_vector, is_config_vector);
        return match device {
            DeviceType::Net if order => Some("Windows, NetKVM"),
            DeviceType::Block if order => Some("Windows, viostor"),
            _ => None,
        };
    }
    if !probe.accepts_at_once() {
        let old = probe.accepts_after_queues() && !has_vectors && probe.reads_configuration_by_bytes();
        return old.then_some("Linux 2.6.26 to 2.6.30, on the interrupt line");
    }
    match (has_vectors, probe.reads_configuration_by_bytes()) {
        (true, true) if probe.all_before(is_config_vector, is_queue) && probe.sets_vectors_with_queues() => {
            // A disk's partition table is read in the probe.
            let is_old = device == DeviceType::Block && probe.kicks();
            Some(if is_old { "Linux 2.6.31 to 3.18, with MSI-X" } else { "Linux 2.6.31 or later, with MSI-X" })
        }
        (true, by_bytes)
            if probe.all_before(is_queue, is_config_vector) && probe.all_before(is_config_vector, is_queue_vector) =>
        {
            Some(if by_bytes { "FreeBSD 13 or later, with MSI-X" } else { "FreeBSD before 13, with MSI-X" })
        }
        (false, false) => Some("FreeBSD before 13, on the interrupt line"),
        (false, true) if probe.looks_after_reset() == 1 => {
            Some("Linux before 3.1 on the interrupt line, RHEL 4 and 5 among them")
        }
        (false, true) => Some("Linux 3.1 or later, or FreeBSD 13 or later, on the interrupt line"),
        _ => None,
    }
}
