// SPDX-License-Identifier: Apache-2.0
use super::*;

const GUEST: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

fn ethernet(destination: [u8; 6], kind: [u8; 2], body: &[u8]) -> Vec<u8> {
    [&destination[..], &GUEST, &kind, body].concat()
}

fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let body = [&ARP_IPV4[..], &[0, operation], &GUEST, &sender, &[0; 6], &target].concat();
    ethernet([0xff; 6], ETHERTYPE_ARP, &body)
}

/// A ping whose parts a test can spoil before the checksums are made.
fn ping(payload: &[u8], spoil: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let total = (20 + 8 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, (total >> 8) as u8, total as u8, 0x12, 0x34, 0x40, 0, 7, 1, 0, 0];
    packet.extend_from_slice(&[10, 0, 0, 2, 10, 0, 0, 1]);
    packet.extend_from_slice(&[8, 0, 0, 0, 0xab, 0xcd, 0, 1]);
    packet.extend_from_slice(payload);
    spoil(&mut packet);
    set_checksum(&mut packet[..20], 10);
    set_checksum(&mut packet[20..], 2);
    ethernet(MAC, ETHERTYPE_IPV4, &packet)
}

#[test]
fn checksum_is_the_one_of_rfc_1071() {
    // The example of the RFC, and a packet from the wire.
    assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    let header = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8,
        0x00, 0xc7,
    ];
    assert_eq!(checksum(&header), 0);
    assert_eq!(checksum(&[0xff]), 0x00ff);
}

#[test]
fn arp_for_any_address_is_answered() {
    let reply = answer(&arp(1, [10, 0, 0, 2], [192, 0, 2, 77])).unwrap();
    let body = [&ARP_IPV4[..], &[0, 2], &MAC, &[192, 0, 2, 77], &GUEST, &[10, 0, 0, 2]].concat();
    assert_eq!(reply[..42], [&GUEST[..], &MAC, &ETHERTYPE_ARP, &body].concat());
    assert_eq!(reply[42..], [0; 18], "padded to the shortest frame");
}

#[test]
fn arp_probes_announcements_and_replies_are_not_answered() {
    assert_eq!(answer(&arp(1, [0; 4], [10, 0, 0, 2])), None);
    assert_eq!(answer(&arp(1, [10, 0, 0, 2], [10, 0, 0, 2])), None);
    assert_eq!(answer(&arp(2, [10, 0, 0, 2], [10, 0, 0, 1])), None);
}

#[test]
fn ping_is_answered_with_right_checksums() {
    for payload in [&b""[..], b"x", b"0123456789", &[0xff; 1472]] {
        let reply = answer(&ping(payload, |_| ())).unwrap();
        let total = usize::from(u16::from_be_bytes([reply[16], reply[17]]));
        let packet = &reply[14..14 + total];
        assert_eq!((checksum(&packet[..20]), checksum(&packet[20..])), (0, 0));
        assert_eq!(packet[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
        assert_eq!((packet[8], packet[20], packet[21]), (64, 0, 0));
        assert_eq!(packet[24..28], [0xab, 0xcd, 0, 1]);
        assert_eq!(&packet[28..], payload);
    }
}

#[test]
fn everything_else_is_dropped() {
    let mut wrong_sum = ping(b"abc", |_| ());
    *wrong_sum.last_mut().unwrap() ^= 1;
    assert_eq!(answer(&wrong_sum), None);
    assert_eq!(answer(&ping(b"abc", |p| p[6] = 0x20)), None, "fragment");
    assert_eq!(answer(&ping(b"abc", |p| p[9] = 17)), None, "UDP");
    assert_eq!(answer(&ping(b"abc", |p| p[20] = 0)), None, "echo reply");
    assert_eq!(answer(&ping(b"abc", |p| p[16] = 224)), None, "multicast");
    assert_eq!(answer(&ping(b"abc", |p| p[0] = 0x44)), None, "header shorter than 20 bytes");
    assert_eq!(answer(&ping(b"abc", |p| p[3] = 0xff)), None, "longer than the frame");
    let mut other = ping(b"abc", |_| ());
    other[0] = 2;
    assert_eq!(answer(&other), None, "for somebody else");
    let whole = ping(b"abc", |_| ());
    for len in 0..whole.len() {
        assert_eq!(answer(&whole[..len]), None, "cut at {len}");
    }
}

proptest::proptest! {
    #[test]
    fn no_frame_is_too_strange(mut frame in proptest::collection::vec(proptest::num::u8::ANY, 0..120), ip: bool) {
        if frame.len() > 14 {
            frame[0..6].copy_from_slice(&MAC);
            frame[12..14].copy_from_slice(if ip { &ETHERTYPE_IPV4 } else { &ETHERTYPE_ARP });
        }
        if let Some(reply) = answer(&frame) {
            proptest::prop_assert!(reply.len() >= MIN_FRAME);
        }
    }
}
