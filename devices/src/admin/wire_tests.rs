// SPDX-License-Identifier: Apache-2.0
//! Vectors A01.. and C01.. of the project's conformance list, as far as they concern bytes.
use super::*;
use proptest::prelude::*;

/// "Z12", "Z7" and "·" as in the vector tables; everything else is hex.
fn vector(text: &str) -> Vec<u8> {
    let text = text.replace("Z12", &"00".repeat(12)).replace("Z7", &"00".repeat(7)).replace(['·', ' '], "");
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn request(opcode: u16, group_type: u16, member_id: u64, data: &[u8]) -> Vec<u8> {
    Request::encode(&Command { opcode, group_type, member_id, data }).unwrap().as_bytes().to_vec()
}

/// What the driver sends, and that the device side reads the same out of it.
fn check(text: &str, len: usize, opcode: u16, group_type: u16, member_id: u64, data: &[u8]) {
    let bytes = vector(text);
    assert_eq!(bytes.len(), len);
    assert_eq!(request(opcode, group_type, member_id, data), bytes);
    let (header, rest) = RequestHeader::parse(&bytes);
    assert_eq!(header, RequestHeader { opcode, group_type, member_id });
    assert_eq!(rest, data);
}

fn read_status(offset: u8) -> [u8; 1] {
    LegacyRead { offset }.encode()
}

#[test]
fn a01_query_commands() {
    check("00000100·Z12·0000000000000000", 24, opcode::LIST_QUERY, opcode::GROUP_SRIOV, 0, &[]);
    let reply = vector("0000 0000 00000000 7f00000000000000");
    assert_eq!(ReplyHeader::parse(&reply), ReplyHeader::OK);
    let list = CommandList::parse(&reply[REPLY_LEN..]).unwrap();
    assert_eq!(list.word() & 0x7c, 0x7c);
    assert_eq!(list.encode()[..list.encoded_len()], reply[REPLY_LEN..]);
}

#[test]
fn a02_two_words_when_the_largest_opcode_is_a_multiple_of_64() {
    let mut list = CommandList::from_word(3);
    assert_eq!(list.encoded_len(), 8);
    assert!(list.insert(64));
    assert_eq!(list.encoded_len(), 16, "the +1 rule");
    let bytes = vector("03000000000000000100000000000000");
    assert_eq!(list.encode()[..16], bytes);
    let parsed = CommandList::parse(&bytes).unwrap();
    assert!(parsed.contains(64) && !parsed.contains(63) && !parsed.contains(65));
}

#[test]
fn a03_missing_words_are_zero() {
    let list = CommandList::parse(&vector("0300000000000000")).unwrap();
    assert!(list.contains(0) && list.contains(1) && !list.contains(64));
    assert_eq!(CommandList::parse(&[0x7f]).unwrap().word(), 0x7f, "a torn word is padded");
}

#[test]
fn a04_use_list() {
    let list = CommandList::from_word(0x7f);
    let data = &list.encode()[..list.encoded_len()];
    check("01000100·Z12·0000000000000000·7f00000000000000", 32, opcode::LIST_USE, 1, 0, data);
}

#[test]
fn a05_use_list_without_list_commands() {
    let list = CommandList::from_word(0x7c);
    let data = &list.encode()[..list.encoded_len()];
    check("01000100·Z12·0000000000000000·7c00000000000000", 32, opcode::LIST_USE, 1, 0, data);
    assert!(!CommandList::parse(data).unwrap().contains(opcode::LIST_QUERY));
}

#[test]
fn a07_subset_check_of_a_device() {
    let bytes = vector("01000100·Z12·0000000000000000·7f00800000000000");
    let (_, data) = RequestHeader::parse(&bytes);
    let asked = CommandList::parse(data).unwrap();
    assert!(asked.contains(0x17));
    assert!(!asked.is_subset(&CommandList::from_word(0x7f)));
    assert!(CommandList::from_word(0x7c).is_subset(&CommandList::from_word(0x7f)));
}

#[test]
fn a08_to_a14_requests() {
    check("03000100·Z12·0300000000000000·12", 25, 3, 1, 3, &read_status(18));
    check("03000200·Z12·0300000000000000·12", 25, 3, 2, 3, &read_status(18));
    check("00700200·Z12·0300000000000000", 24, 0x7000, 2, 3, &[]);
    check("12000100·Z12·0300000000000000", 24, 0x12, 1, 3, &[]);
    check("03000100·Z12·0000000000000000·12", 25, 3, 1, 0, &read_status(18));
    check("03000100·Z12·0900000000000000·12", 25, 3, 1, 9, &read_status(18));
}

#[test]
fn a09_to_a15_replies() {
    for (text, status, qualifier) in [
        ("1600 0400 00000000", 22, opcode::qualifier::INVALID_GROUP),
        ("1600 0200 00000000", 22, opcode::qualifier::INVALID_OPCODE),
        ("1600 0500 00000000", 22, opcode::qualifier::INVALID_MEMBER),
        ("0b00 0700 00000000", opcode::status::EAGAIN, opcode::qualifier::TRYAGAIN),
    ] {
        let bytes = vector(text);
        let reply = ReplyHeader { status, qualifier };
        assert_eq!(ReplyHeader::parse(&bytes), reply);
        assert_eq!(reply.encode().to_vec(), bytes);
        assert_eq!(opcode::normalize(status, qualifier), (status, qualifier));
    }
}

#[test]
fn a16_reserved_numbers() {
    let reply = ReplyHeader::parse(&vector("6300 3000 00000000"));
    assert_eq!((reply.status, reply.qualifier), (0x63, 0x30));
    assert_eq!(opcode::normalize(reply.status, reply.qualifier), (22, 1));
}

#[test]
fn a18_cut_header_has_member_zero() {
    let bytes = vector("03000100·Z12");
    let (header, data) = RequestHeader::parse(&bytes);
    assert_eq!(header, RequestHeader { opcode: 3, group_type: 1, member_id: 0 });
    assert!(data.is_empty());
    assert_eq!(RequestHeader::parse(&[]).0, RequestHeader::default());
    assert_eq!(RequestHeader::parse(&[3]).0.opcode, 3);
}

#[test]
fn a19_padded_read() {
    let bytes = vector("03000100·Z12·0300000000000000·1200000000000000");
    let (_, data) = RequestHeader::parse(&bytes);
    assert_eq!(LegacyRead::parse(data), LegacyRead { offset: 18 });
}

#[test]
fn b02_b07_legacy_writes_are_exact_to_the_byte() {
    let (data, len) = LegacyWrite { offset: 4, data: &0x1003_9823u32.to_le_bytes() }.encode().unwrap();
    check("02000100·Z12·0300000000000000·04·Z7·23980310", 36, 2, 1, 3, &data[..len]);
    let (data, len) = LegacyWrite { offset: 18, data: &[0] }.encode().unwrap();
    check("02000100·Z12·0300000000000000·12·Z7·00", 33, 2, 1, 3, &data[..len]);
    let parsed = LegacyWrite::parse(&data[..len]);
    assert_eq!(parsed, LegacyWrite { offset: 18, data: &[0] });
    assert_eq!(LegacyWrite { offset: 0, data: &[0; 9] }.encode(), None);
    assert_eq!(LegacyWrite::parse(&[]), LegacyWrite { offset: 0, data: &[] });
}

#[test]
fn c01_notify_info() {
    check("06000100·Z12·0300000000000000", 24, opcode::LEGACY_NOTIFY_INFO, 1, 3, &[]);
    let mut result = vector("02020000000000000010000000000000·01040000000000000081000000000000");
    result.resize(NOTIFY_INFO_LEN, 0);
    let info = NotifyInfo::parse(&result);
    assert_eq!(info.entries[0], NotifyEntry { flags: 2, bar: 2, offset: 0x1000 });
    assert_eq!(info.entries[1], NotifyEntry { flags: 1, bar: 4, offset: 0x8100 });
    assert_eq!(info.entries[2..], [NotifyEntry::default(); 2]);
    assert_eq!(info.encode().to_vec(), result);
}

#[test]
fn c05_short_notify_info_ends_early() {
    let info = NotifyInfo::parse(&vector("02020000000000000010000000000000"));
    assert_eq!(info.entries[0], NotifyEntry { flags: 2, bar: 2, offset: 0x1000 });
    assert_eq!(info.entries[1].flags, NotifyEntry::END);
}

/// Commands that this VMM never sends; what its encoder would make of them is right all the same.
#[test]
fn f23_f24_device_mode_and_capability_query_bytes() {
    let stop = request(opcode::DEV_MODE_SET, 1, 3, &[1]);
    assert_eq!(stop, vector("11000100 Z12 0300000000000000 01"));
    let capabilities = request(7, 0, 0, &[]);
    assert_eq!(capabilities, vector("07000000 Z12 0000000000000000"));
}

#[test]
fn oversized_data_is_refused() {
    let command = Command { opcode: 2, group_type: 1, member_id: 1, data: &[0; MAX_DATA + 1] };
    assert!(Request::encode(&command).is_none());
}

#[test]
fn every_opcode_of_the_standard_has_a_name() {
    assert_eq!(opcode::name(0), "LIST_QUERY");
    assert_eq!(opcode::name(opcode::DEV_MODE_SET), "DEV_MODE_SET");
    assert_eq!(opcode::name(0x12), "unassigned opcode");
}

proptest! {
    #[test]
    fn parsers_take_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (header, data) = RequestHeader::parse(&bytes);
        prop_assert_eq!(data.len(), bytes.len().saturating_sub(HEADER_LEN));
        let request = request(header.opcode, header.group_type, header.member_id, &data[..data.len().min(MAX_DATA)]);
        prop_assert_eq!(RequestHeader::parse(&request).0, header);
        let write = LegacyWrite::parse(&bytes);
        prop_assert_eq!(write.data.len(), bytes.len().saturating_sub(8));
        let info = NotifyInfo::parse(&bytes);
        prop_assert_eq!(NotifyInfo::parse(&info.encode()), info);
        if let Some(list) = CommandList::parse(&bytes) {
            prop_assert_eq!(CommandList::parse(&list.encode()[..list.encoded_len()]), Some(list));
        }
    }
}
