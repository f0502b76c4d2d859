// SPDX-License-Identifier: Apache-2.0
//! The argument of VFIO_DEVICE_SET_IRQS. Pure.
//!
//! Source: Linux, include/uapi/linux/vfio.h, `struct vfio_irq_set`.
#![forbid(unsafe_code)]

use std::os::fd::{AsRawFd, RawFd};

use vfio_bindings::bindings::vfio;
use vmm_sys_util::eventfd::EventFd;

/// Words before the data: argsz, flags, index, start, count.
const HEADER: usize = 5;
/// What stands for "no eventfd".
const NONE: RawFd = -1;
/// No function has more vectors (PCI, "MSI-X Capability").
const MOST: usize = 2048;

/// A `vfio_irq_set` with its data, as 32-bit words: each member and each descriptor is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IrqSet(Vec<u32>);

impl IrqSet {
    /// Vectors `0..events.len()` of kind `index` signal these from now on, which also enables the kind.
    /// `None` for too many.
    pub(super) fn trigger(index: u32, events: impl ExactSizeIterator<Item = Option<RawFd>>) -> Option<Self> {
        Self::events(index, vfio::VFIO_IRQ_SET_ACTION_TRIGGER, events)
    }

    /// A signal on `event` unmasks the interrupt.
    pub(super) fn unmask(index: u32, event: &EventFd) -> Option<Self> {
        Self::events(index, vfio::VFIO_IRQ_SET_ACTION_UNMASK, std::iter::once(Some(event.as_raw_fd())))
    }

    /// Disables the kind: a trigger of nothing for no vector.
    pub(super) fn disable(index: u32) -> Self {
        Self::build(index, vfio::VFIO_IRQ_SET_DATA_NONE | vfio::VFIO_IRQ_SET_ACTION_TRIGGER, 0, std::iter::empty())
    }

    fn events(index: u32, action: u32, events: impl ExactSizeIterator<Item = Option<RawFd>>) -> Option<Self> {
        let count = u32::try_from(events.len()).ok().filter(|count| *count as usize <= MOST)?;
        let data = events.map(|event| event.unwrap_or(NONE) as u32);
        Some(Self::build(index, vfio::VFIO_IRQ_SET_DATA_EVENTFD | action, count, data))
    }

    fn build(index: u32, flags: u32, count: u32, data: impl Iterator<Item = u32>) -> Self {
        let mut words = vec![0, flags, index, 0, count];
        words.extend(data);
        // At most HEADER + MOST words.
        let bytes = (words.len() * size_of::<u32>()) as u32;
        if let Some(argsz) = words.first_mut() {
            *argsz = bytes;
        }
        Self(words)
    }

    /// The structure.
    pub(super) fn words(&self) -> &[u32] {
        &self.0
    }
}

const _: () = assert!(HEADER * size_of::<u32>() == 20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_minus_one() {
        let set = IrqSet::trigger(2, [Some(7), None, Some(9)].into_iter()).unwrap();
        // argsz 32, DATA_EVENTFD | ACTION_TRIGGER, MSI-X, start 0, count 3
        assert_eq!(set.words(), [32, 0x24, 2, 0, 3, 7, u32::MAX, 9]);
    }

    #[test]
    fn disabling_has_no_vectors() {
        assert_eq!(IrqSet::disable(0).words(), [20, 0x21, 0, 0, 0]);
    }

    #[test]
    fn more_vectors_than_there_can_be() {
        assert!(IrqSet::trigger(2, vec![None; 2048].into_iter()).is_some());
        assert!(IrqSet::trigger(2, vec![None; 2049].into_iter()).is_none());
    }

    #[test]
    fn unmasking_by_an_eventfd() {
        let event = EventFd::new(libc::EFD_CLOEXEC).unwrap();
        let set = IrqSet::unmask(0, &event).unwrap();
        assert_eq!(set.words(), [24, 0x14, 0, 0, 1, event.as_raw_fd() as u32]);
    }
}
