// SPDX-License-Identifier: Apache-2.0
//! The interrupts that a vfio-user client has set up on the function of a server: SET_IRQS may come in
//! pieces, with holes, and mask what it likes; the function is told the whole each time.

use std::os::fd::{FromRawFd, IntoRawFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::errno;
use super::wire::{IrqInfo, SetIrqs, irq_flag, set_irqs_flag as flag};
use crate::function::received::Received;
use crate::function::{IntxEvents, PciFunction, eventfds};

/// Kinds of interrupts, as in `linux/vfio.h`: INTx, MSI, MSI-X, error, request.
pub(super) const KINDS: u32 = 5;
/// INTx.
pub(super) const INTX: u32 = 0;
/// MSI.
pub(super) const MSI: u32 = 1;
/// MSI-X.
pub(super) const MSIX: u32 = 2;
/// Most vectors of a function.
const MAX_VECTORS: u16 = 2048;

/// One interrupt.
#[derive(Default)]
struct Line {
    /// What the client wants signalled.
    trigger: Option<EventFd>,
    /// In the trigger's place while the interrupt is masked; remembers that it was pending.
    masked: Option<EventFd>,
    /// What `masked` was, until the function has the trigger again.
    unmasked: Option<EventFd>,
}

impl Line {
    /// What the function signals.
    fn event(&self) -> Option<&EventFd> {
        self.trigger.as_ref().map(|trigger| self.masked.as_ref().unwrap_or(trigger))
    }

    fn signal(&self) {
        if let Some(event) = self.event() {
            // The client's descriptor, which it may have made a trap of.
            let _ = eventfds::signal(event);
        }
    }

    fn mask(&mut self) -> Result<(), i32> {
        if self.masked.is_none() {
            self.masked = Some(event()?);
        }
        Ok(())
    }
}

/// All interrupts of the function.
#[derive(Default)]
pub(super) struct Irqs {
    intx: Line,
    /// What tells the function that its pin was served; ours unless the client gave one.
    intx_unmask: Option<EventFd>,
    msi: Vec<Line>,
    msix: Vec<Line>,
}

/// What there is of one kind, for GET_IRQ_INFO.
pub(super) fn info(function: &dyn PciFunction, index: u32) -> IrqInfo {
    let (flags, count) = match index {
        INTX => (irq_flag::EVENTFD | irq_flag::MASKABLE | irq_flag::AUTOMASKED, u32::from(function.has_intx())),
        MSI => (irq_flag::EVENTFD | irq_flag::MASKABLE, function.msi_vectors().min(MAX_VECTORS).into()),
        MSIX => (irq_flag::EVENTFD | irq_flag::MASKABLE, function.msix_vectors().min(MAX_VECTORS).into()),
        _ => (irq_flag::EVENTFD, 0),
    };
    IrqInfo { argsz: 16, flags, index, count }
}

impl Irqs {
    /// Carries out SET_IRQS. The error is an errno.
    pub(super) fn set(&mut self, function: &dyn PciFunction, set: &SetIrqs<'_>, fds: Vec<Received>) -> Result<(), i32> {
        let count = info(function, set.index).count;
        let end = set.start.checked_add(set.count).ok_or(libc::EINVAL)?;
        let data = set.flags & (flag::NONE | flag::BOOL | flag::EVENTFD);
        let action = set.flags & (flag::MASK | flag::UNMASK | flag::TRIGGER);
        if set.index >= KINDS || end > count || set.flags != data | action {
            return Err(libc::EINVAL);
        }
        let disable = data == flag::NONE && action == flag::TRIGGER && (set.start, set.count) == (0, 0);
        if disable {
            return if count == 0 { Ok(()) } else { self.disable(function, set.index) };
        }
        let range = set.start as usize..end as usize;
        match data {
            flag::EVENTFD => self.assign(set.index, action, range, fds)?,
            flag::NONE => self.act(set.index, action, range)?,
            flag::BOOL if set.data.len() >= range.len() => {
                let chosen = range.zip(set.data).filter(|(_, meant)| **meant != 0).map(|(at, _)| at..at + 1);
                chosen.into_iter().try_for_each(|range| self.act(set.index, action, range))?;
            }
            _ => return Err(libc::EINVAL),
        }
        if data == flag::EVENTFD || action != flag::TRIGGER {
            self.apply(function, set.index)?;
        }
        if data != flag::EVENTFD && action == flag::UNMASK {
            self.after_unmask(set.index);
        }
        Ok(())
    }

    /// Forgets everything; the function is told where it has something.
    pub(super) fn clear(&mut self, function: &dyn PciFunction) {
        for index in [INTX, MSI, MSIX] {
            if self.lines(index).iter().any(|line| line.trigger.is_some())
                && let Err(errno) = self.disable(function, index)
            {
                tracing::debug!(function = function.name(), errno, index, "cannot disable interrupts");
            }
        }
        *self = Self::default();
    }

    /// Drops what the function dropped in a reset.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn lines(&mut self, index: u32) -> &mut [Line] {
        match index {
            INTX => std::slice::from_mut(&mut self.intx),
            MSI => &mut self.msi,
            _ => &mut self.msix,
        }
    }

    /// The lines in `range`, made if need be.
    fn range(&mut self, index: u32, range: std::ops::Range<usize>) -> Result<&mut [Line], i32> {
        let lines = match index {
            INTX => return self.lines(index).get_mut(range).ok_or(libc::EINVAL),
            MSI => &mut self.msi,
            _ => &mut self.msix,
        };
        if lines.len() < range.end {
            lines.resize_with(range.end, Line::default);
        }
        lines.get_mut(range).ok_or(libc::EINVAL)
    }

    fn disable(&mut self, function: &dyn PciFunction, index: u32) -> Result<(), i32> {
        let disabled = match index {
            INTX => {
                (self.intx, self.intx_unmask) = Default::default();
                function.set_intx(None)
            }
            MSI => {
                self.msi.clear();
                function.set_msi(&[])
            }
            MSIX => {
                self.msix.clear();
                function.disable_msix()
            }
            _ => Ok(()),
        };
        disabled.map_err(|error| errno(&error))
    }

    /// As many descriptors as interrupts, or none at all, which takes theirs away.
    fn assign(
        &mut self,
        index: u32,
        action: u32,
        range: std::ops::Range<usize>,
        fds: Vec<Received>,
    ) -> Result<(), i32> {
        if !fds.is_empty() && fds.len() != range.len() {
            return Err(libc::EINVAL);
        }
        let events = fds.into_iter().map(own).collect::<Result<Vec<_>, _>>()?;
        let mut events = events.into_iter();
        match action {
            flag::TRIGGER => {
                for line in self.range(index, range)? {
                    line.trigger = events.next();
                }
                if index == INTX && self.intx_unmask.is_none() {
                    self.intx_unmask = Some(event()?);
                }
                Ok(())
            }
            flag::UNMASK if index == INTX => {
                self.intx_unmask = Some(events.next().map_or_else(event, Ok)?);
                Ok(())
            }
            _ => Err(libc::EINVAL),
        }
    }

    fn act(&mut self, index: u32, action: u32, range: std::ops::Range<usize>) -> Result<(), i32> {
        for line in self.range(index, range)? {
            match action {
                flag::TRIGGER => line.signal(),
                flag::MASK => line.mask()?,
                flag::UNMASK => line.unmasked = line.masked.take(),
                _ => return Err(libc::EINVAL),
            }
        }
        Ok(())
    }

    /// The function signals the triggers again: passes on what was signalled meanwhile.
    fn after_unmask(&mut self, index: u32) {
        for line in self.lines(index) {
            // Not blocking; an error says that nothing is pending.
            if line.unmasked.take().is_some_and(|event| event.read().is_ok()) {
                line.signal();
            }
        }
        if index == INTX
            && let Some(unmask) = &self.intx_unmask
        {
            let _ = eventfds::signal(unmask);
        }
    }

    /// Tells the function what to signal now.
    fn apply(&mut self, function: &dyn PciFunction, index: u32) -> Result<(), i32> {
        let applied = match index {
            INTX => {
                let events = self.intx.event().zip(self.intx_unmask.as_ref());
                function.set_intx(events.map(|(trigger, unmask)| IntxEvents { trigger, unmask }))
            }
            MSI => function.set_msi(&self.msi.iter().map(Line::event).collect::<Vec<_>>()),
            MSIX => function.set_msix(&self.msix.iter().map(Line::event).collect::<Vec<_>>()),
            _ => Ok(()),
        };
        applied.map_err(|error| errno(&error))
    }
}

fn event() -> Result<EventFd, i32> {
    EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(|error| error.raw_os_error().unwrap_or(libc::EMFILE))
}

/// What a client sent, as the eventfd that it must be: a pipe could make the function wait in a write.
/// It is made non-blocking for those who write to it plainly; who does must not care that the client can
/// take that back.
fn own(fd: Received) -> Result<EventFd, i32> {
    let fd = fd.eventfd().ok_or(libc::EINVAL)?;
    let set = fcntl_getfl(&fd).and_then(|flags| fcntl_setfl(&fd, flags | OFlags::NONBLOCK));
    set.map_err(|error| error.raw_os_error())?;
    // SAFETY: the descriptor is open, an eventfd as was checked, and nobody else's from here on.
    Ok(unsafe { EventFd::from_raw_fd(fd.into_raw_fd()) })
}
