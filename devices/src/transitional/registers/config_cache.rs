// SPDX-License-Identifier: Apache-2.0
//! Which bytes of device configuration the VMM knows, so that a guest's read needs no command. Pure.
//!
//! Two things, and neither can become stale while a guest may notice:
//!
//! * The MAC address of a network card. It changes when the driver writes it, and when the driver
//!   accepted CTRL_MAC_ADDR and sends a command through a queue that nobody here reads: then it is
//!   not kept. A device reset may restore it.
//! * A *run*: old drivers read a field byte by byte. The first byte's command reads up to four bytes
//!   of the field at once, and each of the others is given to the very next access, once. Anything
//!   but the next byte ends the run. So the bytes are of one moment, as a wider read would give them
//!   (hazard H39), and each time that a field is read from its beginning, the device is asked.
//!
//! All else (link status, capacity, sizes) is asked for each time. To keep it, one would have to see
//! every configuration interrupt before the guest does, and with MSI-X on these go to the guest
//! directly.

use serde::{Deserialize, Serialize};

use super::events::MacFate;
use crate::bus::Width;
use crate::transitional::layout::fields::Piece;
use crate::transitional::layout::identity::DeviceType;

/// Feature bit of a network card: CTRL_MAC_ADDR, the MAC address can be set through a queue.
const NET_CTRL_MAC_ADDR: u32 = 1 << 23;
const MAC_LEN: usize = 6;

/// Bytes read ahead of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    /// Offset of the byte that the guest has to read next.
    next: u8,
    /// Value of that byte and those after it, the next in the low bits.
    value: u32,
    /// How many bytes there are.
    left: u8,
}

/// All that is known of one device's configuration, to be saved and set again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigState {
    /// Whether only writes of the guest change the MAC address.
    mac_is_fixed: bool,
    mac: [Option<u8>; MAC_LEN],
    run: Option<Run>,
    /// The device refused to read more than the guest asked for.
    refuses_runs: bool,
}

/// What is known of one device's configuration.
#[derive(Debug)]
pub(crate) struct ConfigCache {
    answers: bool,
    is_net: bool,
    state: ConfigState,
}

impl ConfigCache {
    /// Nothing is known of a `device`; with `answers` off, nothing ever will be.
    pub(crate) fn new(answers: bool, device: DeviceType) -> Self {
        let state = ConfigState { mac_is_fixed: true, mac: [None; MAC_LEN], run: None, refuses_runs: false };
        Self { answers, is_net: device == DeviceType::Net, state }
    }

    /// All that it holds.
    pub(crate) fn state(&self) -> ConfigState {
        self.state.clone()
    }

    /// Goes on from `state`.
    pub(crate) fn set_state(&mut self, state: ConfigState) {
        self.state = state;
    }

    /// What the device would answer for `piece`, if that is known. Ends a run that it is not the next
    /// part of.
    pub(crate) fn get(&mut self, piece: &Piece) -> Option<u32> {
        let run = self.state.run.take();
        if let Some(value) = self.mac_part(piece) {
            return Some(value);
        }
        let run = run?;
        let bytes = piece.width.bytes() as u8;
        if piece.offset != run.next || bytes > run.left {
            return None;
        }
        self.keep_run(run.next, run.value, run.left, bytes);
        Some(piece.width.truncate(run.value.into()) as u32)
    }

    fn mac_part(&self, piece: &Piece) -> Option<u32> {
        let start = usize::from(piece.offset);
        let bytes = self.state.mac.get(start..start.checked_add(piece.width.bytes())?)?;
        bytes.iter().rev().try_fold(0, |value, byte| Some(value << 8 | u32::from((*byte)?)))
    }

    /// How much to read for `piece`, of whose field `room` bytes are left from its offset on.
    pub(crate) fn width_to_read(&self, piece: &Piece, room: u8) -> Width {
        let widest = match room {
            0 | 1 => Width::B1,
            2 | 3 => Width::B2,
            _ => Width::B4,
        };
        // Wider accesses of the guest are not byte-by-byte reading.
        let ahead = self.answers && !self.state.refuses_runs && piece.width == Width::B1;
        if ahead { widest } else { piece.width }
    }

    /// The device refused a width from [`Self::width_to_read`] that the guest did not ask for.
    pub(crate) fn refused_run(&mut self) {
        self.state.refuses_runs = true;
    }

    /// The device answered `value` for the `width` bytes from `piece.offset` on; the guest gets those
    /// of `piece`.
    pub(crate) fn read(&mut self, piece: &Piece, width: Width, value: u32) {
        if !self.answers {
            return;
        }
        if self.is_net && self.state.mac_is_fixed {
            let bytes = value.to_le_bytes();
            let slots = self.state.mac.iter_mut().skip(piece.offset.into());
            slots.zip(bytes.iter().take(width.bytes())).for_each(|(slot, byte)| *slot = Some(*byte));
        }
        self.keep_run(piece.offset, value, width.bytes() as u8, piece.width.bytes() as u8);
    }

    /// Keeps what is behind the `taken` bytes of `available` ones at `offset`.
    fn keep_run(&mut self, offset: u8, value: u32, available: u8, taken: u8) {
        let left = available.saturating_sub(taken);
        let rest = value.checked_shr(8 * u32::from(taken)).unwrap_or(0);
        let next = offset.checked_add(taken);
        self.state.run = next.filter(|_| left != 0).map(|next| Run { next, value: rest, left });
    }

    /// Whether a driver that accepted `features` can change the MAC address through a queue.
    pub(crate) fn may_change_by_queue(&self, features: u32) -> bool {
        self.is_net && features & NET_CTRL_MAC_ADDR != 0
    }

    /// Another access came between.
    pub(crate) fn end_run(&mut self) {
        self.state.run = None;
    }

    /// An event that the table of `cache_events` lists: the run ends, and this becomes of the MAC address.
    pub(crate) fn apply(&mut self, mac: MacFate) {
        self.state.run = None;
        if mac != MacFate::Keep {
            self.state.mac = [None; MAC_LEN];
        }
        match mac {
            MacFate::Keep | MacFate::Forget => {}
            MacFate::Distrust => self.state.mac_is_fixed = false,
            MacFate::Trust => self.state.mac_is_fixed = true,
        }
    }
}

#[cfg(test)]
#[path = "config_cache_tests.rs"]
mod tests;
