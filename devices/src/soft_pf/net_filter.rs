// SPDX-License-Identifier: Apache-2.0
//! Receive filtering of a network device, and the control commands that set it (virtio 1.3, 5.1.6.5.1
//! to 5.1.6.5.3). Pure; the driver's bytes are not trusted.

pub(super) const F_CTRL_VQ: u64 = 1 << 17;
pub(super) const F_CTRL_RX: u64 = 1 << 18;
pub(super) const F_CTRL_VLAN: u64 = 1 << 19;

/// `VIRTIO_NET_OK` and `VIRTIO_NET_ERR`.
pub(super) const OK: u8 = 0;
pub(super) const ERR: u8 = 1;

const CLASS_RX: u8 = 0;
const RX_PROMISC: u8 = 0;
const RX_ALLMULTI: u8 = 1;
const CLASS_MAC: u8 = 1;
const MAC_TABLE_SET: u8 = 0;
const CLASS_VLAN: u8 = 2;
const VLAN_ADD: u8 = 0;
const VLAN_DEL: u8 = 1;

const MAC_LEN: usize = 6;
const BROADCAST: [u8; MAC_LEN] = [0xff; MAC_LEN];
const ETHERTYPE_AT: usize = 12;
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0];
const VLANS: u16 = 4096;

/// Addresses kept of each list. With more, all of that kind are received: a device may do that.
const MAX_ADDRESSES: usize = 64;
/// Longest command with data that is looked at: class, command, and both lists of the longest table
/// that anybody sends. Longer ones are refused.
pub(super) const MAX_COMMAND: usize = 2 + 2 * (4 + 4096 * MAC_LEN);

/// A list of addresses of one kind.
#[derive(Clone, Debug, Default)]
struct Addresses {
    listed: Vec<[u8; MAC_LEN]>,
    /// There were too many.
    all: bool,
}

impl Addresses {
    fn take(bytes: &[u8]) -> Self {
        let (addresses, _) = bytes.as_chunks::<MAC_LEN>();
        if addresses.len() > MAX_ADDRESSES {
            return Self { listed: Vec::new(), all: true };
        }
        Self { listed: addresses.to_vec(), all: false }
    }

    fn has(&self, address: &[u8]) -> bool {
        self.all || self.listed.iter().any(|listed| listed == address)
    }
}

/// What a device receives.
#[derive(Clone, Debug)]
pub(super) struct ReceiveFilter {
    promiscuous: bool,
    all_multicast: bool,
    unicast: Addresses,
    multicast: Addresses,
    /// One bit for each id.
    vlans: Vec<u64>,
}

impl ReceiveFilter {
    /// After a reset: everything is received. A driver without CTRL_RX has no other way to ask for
    /// what it needs.
    pub(super) fn new() -> Self {
        let vlans = vec![0; usize::from(VLANS / 64)];
        Self {
            promiscuous: true,
            all_multicast: false,
            unicast: Addresses::default(),
            multicast: Addresses::default(),
            vlans,
        }
    }

    /// Whether a device with the address `own` whose driver accepted `features` receives `frame`.
    pub(super) fn accepts(&self, frame: &[u8], own: &[u8], features: u64) -> bool {
        let Some(to) = frame.get(..MAC_LEN) else { return false };
        if self.promiscuous {
            return true;
        }
        if features & F_CTRL_VLAN != 0 && !self.vlan_is_wanted(frame) {
            return false;
        }
        match to.first().is_some_and(|byte| byte & 1 != 0) {
            true => to == BROADCAST || self.all_multicast || self.multicast.has(to),
            false => to == own || self.unicast.has(to),
        }
    }

    fn vlan_is_wanted(&self, frame: &[u8]) -> bool {
        let Some([e0, e1, t0, t1]) = frame.get(ETHERTYPE_AT..ETHERTYPE_AT + 4) else { return true };
        let id = u16::from_be_bytes([*t0, *t1]) % VLANS;
        [*e0, *e1] != ETHERTYPE_VLAN
            || self.vlans.get(usize::from(id / 64)).is_some_and(|word| word >> (id % 64) & 1 != 0)
    }

    /// Carries out a command: class, command and data, as the driver wrote them. One that is refused
    /// changes nothing.
    pub(super) fn command(&mut self, bytes: &[u8], features: u64) -> u8 {
        let [class, command, data @ ..] = bytes else { return ERR };
        let done = match *class {
            CLASS_RX if features & F_CTRL_RX != 0 => self.set_mode(*command, data),
            CLASS_MAC if features & F_CTRL_RX != 0 && *command == MAC_TABLE_SET => self.set_table(data),
            CLASS_VLAN if features & F_CTRL_VLAN != 0 => self.set_vlan(*command, data),
            _ => None,
        };
        if done.is_some() { OK } else { ERR }
    }

    fn set_mode(&mut self, command: u8, data: &[u8]) -> Option<()> {
        let on = match data {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        match command {
            RX_PROMISC => self.promiscuous = on,
            RX_ALLMULTI => self.all_multicast = on,
            _ => return None,
        }
        Some(())
    }

    /// Two lists, each with the number of its entries in front; nothing may come after them.
    fn set_table(&mut self, data: &[u8]) -> Option<()> {
        let (unicast, rest) = list(data)?;
        let (multicast, rest) = list(rest)?;
        if !rest.is_empty() {
            return None;
        }
        (self.unicast, self.multicast) = (Addresses::take(unicast), Addresses::take(multicast));
        Some(())
    }

    fn set_vlan(&mut self, command: u8, data: &[u8]) -> Option<()> {
        let id = u16::from_le_bytes(data.try_into().ok()?);
        let word = self.vlans.get_mut(usize::from(id / 64))?;
        match command {
            VLAN_ADD => *word |= 1 << (id % 64),
            VLAN_DEL => *word &= !(1 << (id % 64)),
            _ => return None,
        }
        Some(())
    }
}

/// One list's addresses, and what comes after it.
fn list(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (entries, rest) = data.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*entries)).ok()?.checked_mul(MAC_LEN)?;
    rest.split_at_checked(len)
}

#[cfg(test)]
#[path = "net_filter_tests.rs"]
mod tests;
