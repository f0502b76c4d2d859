// SPDX-License-Identifier: Apache-2.0
//! A model of a legacy device that is strict where hardware may be, and failures to inject.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Log, Setup};
use crate::bus::Width;
use crate::contract::mock::MockFunction;
use crate::contract::{Answer, Area, LegacyRegisters, NotifyAddress, RegisterError, Wait};

/// Failures and delays to inject, by the start of the log line without the value.
#[derive(Default)]
pub(crate) struct Trouble {
    rules: Mutex<Vec<(String, RegisterError)>>,
    slow: Mutex<Option<(String, Duration)>>,
    /// Accesses that take their time at the moment.
    slowed: AtomicUsize,
}

impl Trouble {
    /// Every access that starts so fails from now on.
    pub(crate) fn fail(&self, prefix: &str, error: RegisterError) {
        self.rules.lock().unwrap().push((prefix.to_owned(), error));
    }

    /// Every access that starts so takes this long from now on.
    pub(crate) fn slow(&self, prefix: &str, time: Duration) {
        *self.slow.lock().unwrap() = Some((prefix.to_owned(), time));
    }

    /// Waits until an access takes its time.
    pub(crate) fn wait_for_a_slow_one(&self) {
        while self.slowed.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    }

    /// No trouble any more; what takes its time is over.
    pub(crate) fn end(&self) {
        self.rules.lock().unwrap().clear();
        *self.slow.lock().unwrap() = None;
    }

    fn check(&self, what: &str, wait: &Wait<'_>) -> Result<(), RegisterError> {
        let slow = self.slow.lock().unwrap().clone();
        if let Some((_, time)) = slow.filter(|(prefix, _)| what.starts_with(prefix.as_str())) {
            let end = Instant::now() + time;
            self.slowed.fetch_add(1, Ordering::SeqCst);
            let mut over = None;
            while over.is_none() && Instant::now() < end && self.slow.lock().unwrap().is_some() {
                over = wait.over();
                std::thread::sleep(Duration::from_millis(1)); // Clock: this device is slow.
            }
            self.slowed.fetch_sub(1, Ordering::SeqCst);
            if let Some(error) = over {
                return Err(error.into());
            }
        }
        let rules = self.rules.lock().unwrap();
        rules.iter().find(|(prefix, _)| what.starts_with(prefix.as_str())).map_or(Ok(()), |(_, e)| Err(e.clone()))
    }
}

pub(crate) fn refused(qualifier: u16) -> RegisterError {
    RegisterError::Refused(Answer { status: 22, qualifier })
}

#[derive(Clone, Copy, Default)]
struct ModelQueue {
    pfn: u32,
    vector: u16,
}

struct ModelState {
    driver_features: u32,
    select: u16,
    status: u8,
    config_vector: u16,
    queues: Vec<ModelQueue>,
    config: Vec<u8>,
    /// The status read as 0 since the last reset.
    was_zero: bool,
}

/// A legacy device. Refuses accesses that are not within one field, and vectors while the VF's
/// MSI-X is off.
pub(crate) struct Model {
    log: Log,
    pub trouble: Trouble,
    pub features: u32,
    /// Field of each byte of the device configuration.
    fields: Vec<usize>,
    vf: Arc<MockFunction>,
    /// The device keeps only vectors below this.
    pub accepts: AtomicU64,
    /// Reads of status it takes for a reset to end; `u64::MAX` is never.
    pub reset_reads: AtomicU64,
    /// Reads of a reset under way that are left until it has ended; one that never ends stays at the maximum.
    pub pending_reset: AtomicU64,
    /// After a reset that has read as 0, the status reads as this until one is written. 0 is honest.
    pub status_after_reset: AtomicU64,
    /// Accesses that crossed fields or went past the end.
    pub violations: AtomicU64,
    notify: Vec<NotifyAddress>,
    config_reach: Option<u8>,
    state: Mutex<ModelState>,
}

impl Model {
    /// The device of `vf` in its power-on state.
    pub(crate) fn new(setup: &Setup, log: &Log, vf: &Arc<MockFunction>) -> Self {
        let sizes = setup.structure.split_whitespace().map(|size| size.parse().unwrap());
        Self {
            log: log.clone(),
            trouble: Trouble::default(),
            features: setup.features,
            fields: sizes.enumerate().flat_map(|(n, size): (usize, usize)| vec![n; size]).collect(),
            vf: Arc::clone(vf),
            accepts: AtomicU64::new(u64::MAX),
            reset_reads: AtomicU64::new(0),
            pending_reset: AtomicU64::new(0),
            status_after_reset: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            notify: setup.notify.clone(),
            config_reach: setup.config_reach,
            state: Mutex::new(ModelState {
                driver_features: 0,
                select: 0,
                status: 0,
                config_vector: 0xffff,
                queues: vec![ModelQueue { pfn: 0, vector: 0xffff }; setup.queues.into()],
                config: setup.config_bytes.clone(),
                was_zero: false,
            }),
        }
    }

    fn field(&self, area: Area, offset: u8) -> Option<(usize, bool)> {
        match area {
            Area::Common => {
                let starts = [0_u8, 4, 8, 12, 14, 16, 18, 19, 20, 22, 24];
                let field = starts.iter().rposition(|start| *start <= offset)?;
                (offset < 24).then_some((field, offset >= 20))
            }
            Area::Device => self.fields.get(usize::from(offset)).map(|field| (*field, false)),
        }
    }

    fn check(&self, area: Area, offset: u8, width: Width) -> Result<(), RegisterError> {
        let first = self.field(area, offset);
        let last = self.field(area, offset.wrapping_add(width.bytes() as u8 - 1));
        if first.is_none() || first != last {
            self.violations.fetch_add(1, Ordering::SeqCst);
            return Err(refused(3));
        }
        if first.is_some_and(|(_, vector)| vector) && self.vectors() == 0 {
            self.violations.fetch_add(1, Ordering::SeqCst);
            return Err(refused(3));
        }
        Ok(())
    }

    /// Vectors that the VF has enabled.
    fn vectors(&self) -> u64 {
        self.vf.state().msix.as_ref().map_or(0, |events| events.len() as u64)
    }

    fn keep_vector(&self, vector: u16) -> u16 {
        let limit = self.vectors().min(self.accepts.load(Ordering::SeqCst));
        if u64::from(vector) < limit { vector } else { 0xffff }
    }

    pub(crate) fn reset(&self) {
        let mut state = self.state.lock().unwrap();
        state.driver_features = 0;
        state.select = 0;
        state.status = 0;
        state.was_zero = false;
        state.config_vector = 0xffff;
        state.queues.fill(ModelQueue { pfn: 0, vector: 0xffff });
        self.pending_reset.store(0, Ordering::SeqCst);
    }

    /// Vector of a queue, as the device has it.
    pub(crate) fn queue_vector(&self, queue: usize) -> u16 {
        self.state.lock().unwrap().queues[queue].vector
    }

    pub(crate) fn pfn(&self, queue: usize) -> u32 {
        self.state.lock().unwrap().queues[queue].pfn
    }

    /// The device configuration as it is now.
    pub(crate) fn config(&self) -> Vec<u8> {
        self.state.lock().unwrap().config.clone()
    }

    pub(crate) fn driver_features(&self) -> u32 {
        self.state.lock().unwrap().driver_features
    }

    fn common_read(&self, state: &ModelState, offset: u8) -> (u32, u8) {
        let queue = state.queues.get(usize::from(state.select)).copied();
        match offset {
            0..4 => (self.features, 0),
            4..8 => (state.driver_features, 4),
            8..12 => (queue.map_or(0, |q| q.pfn), 8),
            12..14 => (queue.map_or(0, |_| 256), 12),
            14..16 => (state.select.into(), 14),
            18 => (state.status.into(), 18),
            20..22 => (state.config_vector.into(), 20),
            22..24 => (queue.map_or(0xffff, |q| q.vector.into()), 22),
            _ => (0, offset),
        }
    }

    fn common_write(&self, state: &mut ModelState, offset: u8, value: u32) {
        let select = usize::from(state.select);
        match offset {
            4 => state.driver_features = value,
            8 => {
                if let Some(queue) = state.queues.get_mut(select) {
                    queue.pfn = value;
                }
            }
            14 => state.select = value as u16,
            18 => state.status = value as u8,
            20 => state.config_vector = self.keep_vector(value as u16),
            22 => {
                let vector = self.keep_vector(value as u16);
                if let Some(queue) = state.queues.get_mut(select) {
                    queue.vector = vector;
                }
            }
            _ => {}
        }
    }
}

fn letter(area: Area) -> char {
    if area == Area::Common { 'C' } else { 'D' }
}

impl LegacyRegisters for Model {
    fn read(&self, area: Area, offset: u8, width: Width, wait: &Wait<'_>) -> Result<u32, RegisterError> {
        let what = format!("R {}{offset}.{}", letter(area), width.bytes());
        let result = self.trouble.check(&what, wait).and_then(|()| self.check(area, offset, width));
        if let Err(error) = result {
            self.log.add(format!("{what}!"));
            return Err(error);
        }
        if (area, offset) == (Area::Common, 18) && self.pending_reset.load(Ordering::SeqCst) != 0 {
            let left = self.pending_reset.load(Ordering::SeqCst);
            if left == 1 {
                self.reset();
            } else if left != u64::MAX {
                self.pending_reset.store(left - 1, Ordering::SeqCst);
            }
        }
        let mut state = self.state.lock().unwrap();
        let asks_status_0 = (area, offset, state.status) == (Area::Common, 18, 0);
        if asks_status_0 && std::mem::replace(&mut state.was_zero, true) {
            state.status = self.status_after_reset.load(Ordering::SeqCst) as u8;
        }
        let value = match area {
            Area::Common => {
                let (register, start) = self.common_read(&state, offset);
                register >> (8 * (offset - start))
            }
            Area::Device => (0..width.bytes())
                .fold(0, |v, byte| v | u32::from(state.config[usize::from(offset) + byte]) << (8 * byte)),
        };
        let value = width.truncate(value.into()) as u32;
        self.log.add(format!("{what}={value:x}"));
        Ok(value)
    }

    fn write(&self, area: Area, offset: u8, width: Width, value: u32, wait: &Wait<'_>) -> Result<(), RegisterError> {
        let what = format!("W {}{offset}.{}", letter(area), width.bytes());
        let result = self.trouble.check(&what, wait).and_then(|()| self.check(area, offset, width));
        self.log.add(format!("{what}={value:x}{}", if result.is_err() { "!" } else { "" }));
        result?;
        if (area, offset, value) == (Area::Common, 18, 0) {
            match self.reset_reads.load(Ordering::SeqCst) {
                0 => self.reset(),
                reads => self.pending_reset.store(reads, Ordering::SeqCst),
            }
            return Ok(());
        }
        let mut state = self.state.lock().unwrap();
        match area {
            Area::Common => self.common_write(&mut state, offset, value),
            Area::Device => {
                for byte in 0..width.bytes() {
                    state.config[usize::from(offset) + byte] = (value >> (8 * byte)) as u8;
                }
            }
        }
        Ok(())
    }

    fn notify_addresses(&self) -> &[NotifyAddress] {
        &self.notify
    }

    fn config_reach(&self) -> Option<u8> {
        self.config_reach
    }
}
