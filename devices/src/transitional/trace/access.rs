// SPDX-License-Identifier: Apache-2.0
//! Accesses to BAR0 while somebody looks: the same access, with a record of it. Changes nothing of what it does.

use std::sync::Arc;
use std::time::Instant;

use super::record::{AccessRecord, Answer, What};
use super::{COMMANDS, Tracer};
use crate::bus::Access;
use crate::transitional::decode::{Direction, Target};
use crate::transitional::device::TransitionalDevice;

impl TransitionalDevice {
    /// Has the function's legacy accesses noted whenever `tracer` is on.
    pub fn trace(&self, tracer: &Arc<Tracer>) {
        self.trace.attach(tracer);
    }

    #[cold]
    #[inline(never)]
    pub(in crate::transitional) fn traced_read(&self, access: Access) -> u64 {
        let begun = self.trace.begin();
        let mut target = Target::Nothing;
        let value = self.bar0_read(access.offset, access.width, |seen| target = *seen);
        self.note_access(begun, access, (Direction::Read, target), value);
        value
    }

    #[cold]
    #[inline(never)]
    pub(in crate::transitional) fn traced_write(&self, access: Access, value: u64) {
        let begun = self.trace.begin();
        let mut target = Target::Nothing;
        self.bar0_write(access.offset, access.width, value, |seen| target = *seen);
        self.note_access(begun, access, (Direction::Write, target), value);
    }

    fn note_access(&self, begun: Instant, access: Access, (direction, target): (Direction, Target), value: u64) {
        let latency_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let commands = COMMANDS.get();
        let answer = match (target, direction) {
            _ if commands.count() != 0 => Answer::Admin,
            (Target::Nothing, _) => Answer::Ignored,
            (Target::Isr, _) => Answer::Isr,
            // Asked after the kick; a reset on another vCPU at the same time can make it wrong.
            (Target::Notify, _) if self.notifier.is_configured(value as u16) => Answer::Doorbell,
            (Target::Notify, _) => Answer::Dropped,
            _ if self.faults.is_faulted() => Answer::OutOfService,
            (_, Direction::Read) => Answer::Shadow,
            (_, Direction::Write) => Answer::Ignored,
        };
        let Access { offset, width, vcpu } = access;
        let record = AccessRecord {
            vcpu,
            direction,
            offset,
            width,
            target,
            value: width.truncate(value),
            answer,
            commands,
            latency_ns,
        };
        self.trace.note(begun, What::Access(record));
    }
}
