// SPDX-License-Identifier: Apache-2.0
//! Accesses to BAR0 while somebody looks: the same access, with a record of it. Changes nothing of what it does.

use std::sync::Arc;
use std::time::Instant;

use super::line::Sent;
use super::record::{AccessRecord, What};
use super::{COMMANDS, Tracer};
use crate::bus::Access;
use crate::transitional::device::TransitionalDevice;
use crate::transitional::layout::decode::{Direction, Target};

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
            _ if commands.count() != 0 => Sent::Admin,
            (Target::Nothing, _) => Sent::Ignored,
            (Target::Isr, _) => Sent::Isr,
            // Asked after the kick; a reset on another vCPU at the same time can make it wrong.
            (Target::Notify, _) if self.notifier.is_configured(value as u16) => Sent::Doorbell,
            (Target::Notify, _) => Sent::Dropped,
            _ if self.faults.is_faulted() => Sent::OutOfService,
            (_, Direction::Read) => Sent::Shadow,
            (_, Direction::Write) => Sent::Ignored,
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
