// SPDX-License-Identifier: Apache-2.0
//! Accesses to BAR0 while somebody looks: the same access, with a record of it. Changes nothing of what it does.

use std::time::Instant;

use super::TransitionalDevice;
use crate::bus::Access;
use crate::transitional::layout::decode::{Direction, Target};
use crate::transitional::telemetry::trace::{AccessRecord, Sent, Transfer};

impl TransitionalDevice {
    #[cold]
    #[inline(never)]
    pub(super) fn traced_read(&self, access: Access) -> u64 {
        let begun = self.back_end.trace().begin();
        let mut target = Target::Nothing;
        let value = self.bar0_read(access.offset, access.width, |seen| target = *seen);
        self.note_access(begun, access, Transfer { direction: Direction::Read, target, value });
        value
    }

    #[cold]
    #[inline(never)]
    pub(super) fn traced_write(&self, access: Access, value: u64) {
        let begun = self.back_end.trace().begin();
        let mut target = Target::Nothing;
        self.bar0_write(access.offset, access.width, value, |seen| target = *seen);
        self.note_access(begun, access, Transfer { direction: Direction::Write, target, value });
    }

    fn note_access(&self, begun: Instant, access: Access, transfer: Transfer) {
        let Transfer { direction, target, value } = transfer;
        let trace = self.back_end.trace();
        let latency_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let commands = trace.commands();
        let answer = match (target, direction) {
            _ if commands.count() != 0 => Sent::Admin,
            (Target::Nothing, _) => Sent::Ignored,
            (Target::Isr, _) => Sent::Isr,
            // Asked after the kick; a reset on another vCPU at the same time can make it wrong.
            (Target::Notify, _) if self.kicks.is_configured(value as u16) => Sent::Doorbell,
            (Target::Notify, _) => Sent::Dropped,
            _ if self.back_end.faults().is_faulted() => Sent::OutOfService,
            (_, Direction::Read) => Sent::Shadow,
            (_, Direction::Write) => Sent::Ignored,
        };
        let transfer = Transfer { value: access.width.truncate(value), ..transfer };
        trace.access(begun, AccessRecord { access, transfer, answer, commands, latency_ns });
    }
}
