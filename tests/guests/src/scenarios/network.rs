// SPDX-License-Identifier: Apache-2.0
//! ARP and ICMP echo, by hand.

use super::{Reason, expect};
use crate::mem::zeros;
use crate::println;
use crate::virtio::Interrupts;
use crate::virtio::net::Card;

const OURS: [u8; 4] = [10, 0, 2, 15];
const THEIRS: [u8; 4] = [10, 0, 2, 2];

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn arp_request(mac: [u8; 6]) -> [u8; 60] {
    let mut frame = zeros::<60>();
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&OURS);
    frame[38..42].copy_from_slice(&THEIRS);
    frame
}

fn echo_request(from: [u8; 6], to: [u8; 6], sequence: u8) -> [u8; 98] {
    let mut frame = zeros::<98>();
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&from);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..26].copy_from_slice(&[0x45, 0, 0, 84, 0, sequence, 0x40, 0, 64, 1, 0, 0]);
    frame[26..30].copy_from_slice(&OURS);
    frame[30..34].copy_from_slice(&THEIRS);
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame[34] = 8;
    frame[38..42].copy_from_slice(&[0x12, 0x34, 0, sequence]);
    for (offset, byte) in frame[42..].iter_mut().enumerate() {
        *byte = offset as u8;
    }
    let sum = checksum(&frame[34..]);
    frame[36..38].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The next frame for which `wanted` holds. A host has things of its own to say on a link.
fn receive(card: &mut Card, frame: &mut [u8], wanted: impl Fn(&[u8]) -> bool) -> Result<usize, Reason> {
    for _ in 0..64 {
        let length = card.receive(frame)?;
        if length >= 42 && wanted(frame) {
            return Ok(length);
        }
    }
    Err("many frames, but not the one that is due".into())
}

pub fn run(irq: Interrupts, count: u32) -> Result<(), Reason> {
    let mut card = Card::open(irq)?;
    let mut frame = zeros::<128>();
    card.send(&arp_request(card.mac))?;
    receive(&mut card, &mut frame, |f| f[12..14] == [8, 6] && f[20..22] == [0, 2] && f[28..32] == THEIRS)?;
    let mut peer = [0; 6];
    peer.copy_from_slice(&frame[22..28]);
    for sequence in 1..=count {
        let request = echo_request(card.mac, peer, sequence as u8);
        card.send(&request)?;
        let length = receive(&mut card, &mut frame, |f| f[12..14] == [8, 0] && f[23] == 1 && f[34] == 0)?;
        expect("length of the echo", length as u64, 98u64)?;
        expect("sequence number", frame[41], request[41])?;
        expect("checksum of the reply", checksum(&frame[34..98]), 0u16)?;
        if frame[42..98] != request[42..] {
            return Err("the echo came back changed".into());
        }
    }
    println!("GUEST net pings={count} interrupts={}", card.transport.interrupt_count(0));
    card.transport.reset();
    Ok(())
}
