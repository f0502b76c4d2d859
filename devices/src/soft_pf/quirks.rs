// SPDX-License-Identifier: Apache-2.0
//! Where real devices differ, or misbehave. Drivers are tested against all of it.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::admin::wire::NotifyEntry;

/// How the software PF and its VFs deviate from the strictest reading of the standard. The default
/// deviates nowhere. May be changed at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Of the VFs.
    pub vf: VfQuirks,
    /// Of the answers to LEGACY_NOTIFY_INFO.
    pub notify: NotifyQuirk,
    /// Of the lists of commands.
    pub list: ListQuirks,
    /// Of the answers to commands.
    pub reply: ReplyQuirks,
}

/// How VFs deviate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VfQuirks {
    /// VFs lose kicks of legacy queues before DRIVER_OK, as hardware built for the modern interface may. A
    /// transitional device must not: it has to support a driver that uses it before DRIVER_OK (virtio 1.3, "Legacy
    /// Interface: Device Initialization").
    pub loses_early_kicks: bool,
    /// Writing 0 to the legacy queue address resets the whole VF, as QEMU's devices do.
    pub pfn_zero_resets: bool,
    /// VFs keep MSI-X vectors below this and refuse the others of their table (they read back as 0xFFFF),
    /// as devices do that run out of interrupt resources.
    pub vectors_kept: Option<u16>,
}

/// What LEGACY_NOTIFY_INFO answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NotifyQuirk {
    /// A doorbell in a BAR of the VF.
    #[default]
    Member,
    /// A doorbell in a BAR of the PF.
    Owner,
    /// These entries, up to four, sensible or not; without any, as [`Self::Member`].
    Entries(Vec<NotifyEntry>),
    /// Nothing: it is not supported.
    Unsupported,
}

impl NotifyQuirk {
    /// Not supported, if `yes`.
    pub fn unsupported(yes: bool) -> Self {
        if yes { Self::Unsupported } else { Self::Member }
    }
}

/// How lists of commands deviate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuirks {
    /// LIST_QUERY and LIST_USE of the SR-IOV group work while VF Enable is clear. Shipping devices
    /// must do this, as Linux asks before it enables VFs.
    pub before_vf_enable: bool,
    /// One more opcode (below 1024) that is supported and does nothing, to make command lists longer.
    pub extra_opcode: Option<u16>,
}

/// How answers to commands deviate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyQuirks {
    /// Every n-th command for a member is answered EAGAIN / TRYAGAIN and not carried out; 0 is never.
    pub busy_every: u32,
    /// Commands for a member are not carried out but answered with this status and qualifier.
    pub answer: Option<(u16, u16)>,
    /// Commands are returned with nothing written.
    pub empty: bool,
    /// Commands are taken and never returned, until the PF is reset.
    pub hang: bool,
}

/// Quirks that several functions look at.
pub(super) type SharedQuirks = Arc<ArcSwap<Quirks>>;
