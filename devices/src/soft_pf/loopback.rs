// SPDX-License-Identifier: Apache-2.0
//! The other end of the wire, in this process: a host that has every IPv4 address. It answers ARP
//! requests (RFC 826) and ICMP echo requests (RFC 792) and drops everything else. Pure.

/// Hardware address of the host.
pub(super) const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0xca, 0xfe, 0x01];

const ETHERNET_LEN: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ARP_LEN: usize = 28;
/// Hardware type Ethernet, protocol IPv4, lengths 6 and 4.
const ARP_IPV4: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];
const ARP_REQUEST: [u8; 2] = [0, 1];
const ARP_REPLY: [u8; 2] = [0, 2];
const PROTOCOL_ICMP: u8 = 1;
const ICMP_ECHO_REQUEST: u8 = 8;
const ICMP_ECHO_REPLY: u8 = 0;
const TTL: u8 = 64;
/// Shortest Ethernet frame without its check sequence.
const MIN_FRAME: usize = 60;

/// The answer to an Ethernet frame, if it gets one.
pub(super) fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let (ethernet, payload) = frame.split_at_checked(ETHERNET_LEN)?;
    let destination = &ethernet[0..6];
    let for_us = destination == MAC || destination == [0xff; 6];
    let source: [u8; 6] = ethernet[6..12].try_into().ok()?;
    if !for_us || source[0] & 1 != 0 {
        return None;
    }
    let kind: [u8; 2] = ethernet[12..14].try_into().ok()?;
    let body = match kind {
        ETHERTYPE_ARP => answer_arp(payload)?,
        ETHERTYPE_IPV4 => answer_ipv4(payload)?,
        _ => return None,
    };
    let mut reply = Vec::with_capacity(MIN_FRAME.max(ETHERNET_LEN + body.len()));
    reply.extend_from_slice(&source);
    reply.extend_from_slice(&MAC);
    reply.extend_from_slice(&kind);
    reply.extend_from_slice(&body);
    reply.resize(reply.len().max(MIN_FRAME), 0);
    Some(reply)
}

fn answer_arp(packet: &[u8]) -> Option<Vec<u8>> {
    let packet = packet.get(..ARP_LEN)?;
    let (sender, target) = (&packet[8..18], &packet[24..28]);
    let sender_ip = &sender[6..10];
    // A probe (sender 0.0.0.0) or an announcement (sender asks for itself) means "is this address
    // taken?"; an answer would tell the guest that it is (RFC 5227).
    let probe = sender_ip == [0; 4] || sender_ip == target;
    if packet[0..6] != ARP_IPV4 || packet[6..8] != ARP_REQUEST || probe {
        return None;
    }
    let mut reply = Vec::with_capacity(ARP_LEN);
    reply.extend_from_slice(&ARP_IPV4);
    reply.extend_from_slice(&ARP_REPLY);
    reply.extend_from_slice(&MAC);
    reply.extend_from_slice(target);
    reply.extend_from_slice(sender);
    Some(reply)
}

fn answer_ipv4(packet: &[u8]) -> Option<Vec<u8>> {
    let first = *packet.first()?;
    let header_len = usize::from(first & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let packet = packet.get(..total)?;
    let header = packet.get(..header_len)?;
    // 20 bytes at least, so the fixed part can be indexed from here on.
    if first >> 4 != 4 || header_len < 20 || checksum(header) != 0 {
        return None;
    }
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
    let icmp = &packet[header_len..];
    let echo = icmp.len() >= 8 && icmp[0] == ICMP_ECHO_REQUEST && icmp[1] == 0;
    let unicast = header[16] < 224;
    if fragment || header[9] != PROTOCOL_ICMP || !echo || !unicast || checksum(icmp) != 0 {
        return None;
    }
    let mut reply = packet.to_vec();
    reply[8] = TTL;
    reply[12..16].copy_from_slice(&header[16..20]);
    reply[16..20].copy_from_slice(&header[12..16]);
    set_checksum(&mut reply[..header_len], 10);
    reply[header_len] = ICMP_ECHO_REPLY;
    set_checksum(&mut reply[header_len..], 2);
    Some(reply)
}

/// Computes the checksum of `data` with its own field, at `at`, as zero, and stores it there.
fn set_checksum(data: &mut [u8], at: usize) {
    data[at..at + 2].fill(0);
    let sum = checksum(data).to_be_bytes();
    data[at..at + 2].copy_from_slice(&sum);
}

/// Internet checksum (RFC 1071); 0 over data whose checksum field is right.
pub(super) fn checksum(data: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u64 = data.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
#[path = "loopback_tests.rs"]
mod tests;
