// SPDX-License-Identifier: Apache-2.0
//! The device's side of the test vectors: A01-A19 (admin primitives) and D01-D05 (widths). Member 3 of
//! eight network VFs.

use super::super::testing::{Bench, bytes, hex, kick};
use super::super::{ListQuirks, NotifyQuirk, Quirks, ReplyQuirks};
use crate::bus::Width;

const QUERY: &str = "00000100 Z12 0000000000000000";
const READ_STATUS: &str = "03000100 Z12 0300000000000000 12";
const INVALID_OPCODE: &str = "1600020000000000";
const INVALID_FIELD: &str = "1600030000000000";
const INVALID_GROUP: &str = "1600040000000000";
const INVALID_MEMBER: &str = "1600050000000000";
const OK: &str = "0000000000000000";

fn bench() -> Bench {
    Bench::ready(Bench::nets(8))
}

/// All VFs enabled, no list chosen.
fn fresh() -> Bench {
    let bench = Bench::new(Bench::nets(8));
    bench.soft.enable_vfs(8).unwrap();
    bench
}

#[test]
fn a01_query_lists_the_legacy_commands() {
    assert_eq!(fresh().command(QUERY, 16), "00000000000000007f00000000000000");
}

#[test]
fn a02_a03_a_longer_list_is_cut_to_the_room() {
    let mut bench = fresh();
    bench.soft.set_quirks(Quirks {
        list: ListQuirks { extra_opcode: Some(64), ..ListQuirks::default() },
        ..Quirks::default()
    });
    assert_eq!(bench.command(QUERY, 24), "00000000000000007f000000000000000100000000000000");
    assert_eq!(bench.command(QUERY, 16), "00000000000000007f00000000000000");
}

#[test]
fn a04_a_list_in_use_makes_its_commands_usable() {
    let mut bench = fresh();
    assert_eq!(bench.command(READ_STATUS, 9), INVALID_OPCODE);
    assert_eq!(bench.command("01000100 Z12 Z8 7f00000000000000", 8), OK);
    assert_eq!(bench.command(READ_STATUS, 9), "000000000000000000");
}

#[test]
fn a05_a06_a_list_without_the_list_commands_locks_itself() {
    let mut bench = fresh();
    assert_eq!(bench.command("01000100 Z12 Z8 7c00000000000000", 8), OK);
    assert_eq!(bench.command(QUERY, 16), INVALID_OPCODE);
    assert_eq!(bench.command(READ_STATUS, 9), "000000000000000000");
}

#[test]
fn a07_an_unsupported_bit_leaves_the_list_as_it_was() {
    let mut bench = bench();
    assert_eq!(bench.command("01000100 Z12 Z8 0300800000000000", 8), INVALID_FIELD);
    assert_eq!(bench.command(READ_STATUS, 9), "000000000000000000");
}

#[test]
fn legacy_commands_are_used_all_or_none() {
    let mut bench = fresh();
    for list in ["07", "0f", "43", "6f"] {
        assert_eq!(bench.command(&format!("01000100 Z12 Z8 {list}00000000000000"), 8), INVALID_FIELD, "{list}");
    }
    assert_eq!(bench.command("01000100 Z12 Z8 3f00000000000000", 8), OK);
    assert_eq!(bench.command("06000100 Z12 0300000000000000", 72), INVALID_OPCODE);
}

#[test]
fn extra_zero_words_of_a_list_are_fine_and_missing_ones_are_zero() {
    let mut bench = fresh();
    assert_eq!(bench.command("01000100 Z12 Z8 7f Z31", 8), OK);
    assert_eq!(bench.command("01000100 Z12 Z8 7f", 8), OK);
    assert_eq!(bench.command("01000100 Z12 Z8 7f Z500 01", 8), INVALID_FIELD);
    assert_eq!(bench.command(READ_STATUS, 9), "000000000000000000");
}

#[test]
fn a08_a_legacy_read_before_any_list_is_chosen() {
    assert_eq!(fresh().command(READ_STATUS, 9), INVALID_OPCODE);
}

#[test]
fn a09_unknown_group() {
    assert_eq!(bench().command("03000200 Z12 0300000000000000 12", 9), INVALID_GROUP);
}

#[test]
fn a10_bad_group_wins_over_bad_opcode() {
    assert_eq!(bench().command("00700200 Z12 0300000000000000", 8), INVALID_GROUP);
}

#[test]
fn a11_unassigned_opcode() {
    let mut bench = bench();
    assert_eq!(bench.command("12000100 Z12 0300000000000000", 8), INVALID_OPCODE);
    assert_eq!(bench.command("ffff0100 Z12 6300000000000000", 8), INVALID_OPCODE, "opcode wins over member");
}

#[test]
fn a12_a13_members_are_1_to_num_vfs() {
    let mut bench = bench();
    assert_eq!(bench.command("03000100 Z12 0000000000000000 12", 9), INVALID_MEMBER);
    assert_eq!(bench.command("03000100 Z12 0900000000000000 12", 9), INVALID_MEMBER);
    assert_eq!(bench.command("03000100 Z12 ffffffffffffffff 12", 9), INVALID_MEMBER);
    assert_eq!(bench.command("03000100 Z12 0800000000000000 12", 9), "000000000000000000");
    bench.soft.enable_vfs(2).unwrap();
    assert_eq!(bench.command(READ_STATUS, 9), INVALID_MEMBER);
}

#[test]
fn a14_without_vf_enable_there_is_no_group() {
    let mut bench = bench();
    bench.soft.enable_vfs(0).unwrap();
    assert_eq!(bench.command(READ_STATUS, 9), INVALID_GROUP);
    assert_eq!(bench.command(QUERY, 16), INVALID_GROUP);
    bench.soft.set_quirks(Quirks {
        list: ListQuirks { before_vf_enable: true, ..ListQuirks::default() },
        ..Quirks::default()
    });
    assert_eq!(bench.command(QUERY, 16), "00000000000000007f00000000000000");
    assert_eq!(bench.command(READ_STATUS, 9), INVALID_GROUP);
}

#[test]
fn a15_busy_has_no_side_effect() {
    let mut bench = bench();
    bench
        .soft
        .set_quirks(Quirks { reply: ReplyQuirks { busy_every: 2, ..ReplyQuirks::default() }, ..Quirks::default() });
    assert_eq!(bench.command("02000100 Z12 0300000000000000 12 Z7 01", 8), OK);
    assert_eq!(bench.command("02000100 Z12 0300000000000000 12 Z7 03", 8), "0b00070000000000");
    assert_eq!(bench.command(READ_STATUS, 9), "000000000000000001");
}

#[test]
fn a16_a17_misbehaving_devices_can_be_had() {
    let mut bench = bench();
    bench.soft.set_quirks(Quirks {
        reply: ReplyQuirks { answer: Some((0x63, 0x30)), ..ReplyQuirks::default() },
        ..Quirks::default()
    });
    assert_eq!(bench.command(READ_STATUS, 9), "6300300000000000");
    bench.soft.set_quirks(Quirks { reply: ReplyQuirks { empty: true, ..ReplyQuirks::default() }, ..Quirks::default() });
    assert_eq!(bench.command(READ_STATUS, 9), "");
    bench.soft.set_quirks(Quirks { reply: ReplyQuirks { hang: true, ..ReplyQuirks::default() }, ..Quirks::default() });
    bench.admin.add(&[(0x10_8000, 24, false), (0x10_c000, 9, true)]);
    kick(bench.pf.as_ref(), bench.admin_queue);
    assert_eq!(bench.admin.poll(), None);
}

#[test]
fn a18_a_header_cut_before_the_member_id_has_member_0() {
    assert_eq!(bench().command("03000100 Z12", 9), INVALID_MEMBER);
}

#[test]
fn a19_padding_after_a_read_is_ignored() {
    let mut bench = bench();
    bench.legacy_write(3, 18, 1, 3);
    assert_eq!(bench.command("03000100 Z12 0300000000000000 1200000000000000", 9), "000000000000000003");
}

#[test]
fn d01_an_access_across_two_fields_fails_and_changes_nothing() {
    let mut bench = bench();
    bench.legacy_write(3, 18, 1, 3);
    assert_eq!(bench.command("03000100 Z12 0300000000000000 11", 10), INVALID_FIELD);
    // The second byte of this one would be a status write.
    assert_eq!(bench.command("02000100 Z12 0300000000000000 11 Z7 0000", 8), INVALID_FIELD);
    assert_eq!(bench.legacy_read(3, false, 18, 1), Ok(3));
}

#[test]
fn d02_d03_accesses_outside_and_too_wide() {
    let mut bench = bench();
    assert_eq!(bench.command("03000100 Z12 0300000000000000 18", 9), INVALID_FIELD);
    assert_eq!(bench.command("03000100 Z12 0300000000000000 ff", 9), INVALID_FIELD);
    assert_eq!(bench.command("03000100 Z12 0300000000000000 0e", 12), INVALID_FIELD);
    assert_eq!(bench.command("05000100 Z12 0300000000000000 08", 9), INVALID_FIELD);
    assert_eq!(bench.command("05000100 Z12 0300000000000000 04", 12), INVALID_FIELD, "mac and status");
    assert_eq!(bench.command("05000100 Z12 0300000000000000 00", 8 + 6), "0000000000000000525400123452");
}

#[test]
fn accesses_without_a_width_are_refused() {
    let mut bench = bench();
    assert_eq!(bench.command("03000100 Z12 0300000000000000 12", 8), INVALID_FIELD);
    assert_eq!(bench.command("02000100 Z12 0300000000000000 12 Z7", 8), INVALID_FIELD);
    assert_eq!(bench.command("02000100 Z12 0300000000000000", 8), INVALID_FIELD);
    assert_eq!(bench.command("02000100 Z12 0300000000000000 04 Z7 01020304 Z4000", 8), INVALID_FIELD);
}

#[test]
fn d04_a_byte_inside_a_field_is_legal() {
    let mut bench = bench();
    bench.legacy_write(3, 8, 4, 0x0001_f4a3);
    assert_eq!(bench.command("03000100 Z12 0300000000000000 09", 9), "0000000000000000f4");
    bench.legacy_write(3, 9, 1, 0xaa);
    assert_eq!(bench.legacy_read(3, false, 8, 4), Ok(0x0001_aaa3));
}

#[test]
fn d05_vectors_are_there_while_msix_is_enabled() {
    let mut bench = bench();
    let read = "03000100 Z12 0300000000000000 14";
    assert_eq!(bench.command(read, 10), INVALID_FIELD);
    let vf = bench.soft.vf(2).unwrap();
    vf.set_msix(&[None, None, None, None]).unwrap();
    assert_eq!(bench.command(read, 10), "0000000000000000ffff");
    bench.legacy_write(3, 20, 2, 3);
    assert_eq!(bench.command(read, 10), "00000000000000000300");
    bench.legacy_write(3, 20, 2, 4);
    assert_eq!(bench.command(read, 10), "0000000000000000ffff", "the VF has four vectors");
    vf.disable_msix().unwrap();
    assert_eq!(bench.command(read, 10), INVALID_FIELD);
}

#[test]
fn notify_info_names_the_doorbell() {
    let mut bench = bench();
    let member = bench.command("06000100 Z12 0300000000000000", 72);
    assert_eq!(member, format!("{OK}02020000000000000030000000000000{}", "0".repeat(96)));
    bench.soft.set_quirks(Quirks { notify: NotifyQuirk::Owner, ..Quirks::default() });
    let owner = bench.command("06000100 Z12 0300000000000000", 24);
    assert_eq!(owner, format!("{OK}01020000000000000438000000000000"));
}

#[test]
fn the_self_group_has_the_list_commands_and_a_list_of_its_own() {
    let mut bench = bench();
    assert_eq!(bench.command("00000000 Z12 Z8", 16), "00000000000000000300000000000000");
    assert_eq!(bench.command("01000000 Z12 Z8 0100000000000000", 8), OK);
    assert_eq!(bench.command("01000000 Z12 Z8 0300000000000000", 8), INVALID_OPCODE);
    assert_eq!(bench.command(QUERY, 16), "00000000000000007f00000000000000");
}

#[test]
fn any_cut_into_descriptors_means_the_same() {
    let mut bench = bench();
    bench.legacy_write(3, 18, 1, 7);
    let request = bytes(READ_STATUS);
    for cuts in [&[][..], &[24], &[1, 2, 3], &[8, 16, 24], &[4, 20]] {
        assert_eq!(hex(&bench.send(&request, 9, cuts)), "000000000000000007", "{cuts:?}");
    }
    let every: Vec<u32> = (1..25).collect();
    assert_eq!(hex(&bench.send(&request, 9, &every)), "000000000000000007");
}

#[test]
fn a_reply_is_cut_to_the_room() {
    let mut bench = bench();
    assert_eq!(bench.command(QUERY, 4), "00000000");
    assert_eq!(bench.command(QUERY, 11), "00000000000000007f0000");
    assert_eq!(bench.command(QUERY, 64), "00000000000000007f00000000000000");
}

#[test]
fn a_reset_of_the_pf_brings_the_list_back_and_leaves_the_vfs() {
    let mut bench = bench();
    bench.legacy_write(3, 18, 1, 3);
    bench.pf.region_write(2, 20, Width::B1, 0).unwrap();
    bench.restart();
    assert_eq!(bench.command(READ_STATUS, 9), INVALID_OPCODE);
    assert_eq!(bench.command("01000100 Z12 Z8 7f00000000000000", 8), OK);
    assert_eq!(bench.command(READ_STATUS, 9), "000000000000000003");
}

#[test]
fn a_function_level_reset_of_the_pf_takes_the_vfs() {
    let mut bench = bench();
    bench.pf.reset().unwrap();
    assert!(bench.soft.vf(2).unwrap().config_read(0, Width::B4).is_err());
    bench.restart();
    assert_eq!(bench.command(QUERY, 16), INVALID_GROUP);
    bench.soft.enable_vfs(8).unwrap();
    assert_eq!(bench.command(QUERY, 16), "00000000000000007f00000000000000");
}

#[test]
fn a_readable_descriptor_after_a_writable_one_stops_the_queue() {
    let mut bench = bench();
    bench.admin.add(&[(0x10_8000, 24, false), (0x10_c000, 8, true), (0x10_8000, 8, false)]);
    kick(bench.pf.as_ref(), bench.admin_queue);
    assert_eq!(bench.admin.poll(), None);
    assert_eq!(bench.pf.region_read(2, 20, Width::B1).unwrap(), 0x4f, "DEVICE_NEEDS_RESET");
    bench.pf.region_write(2, 20, Width::B1, 0).unwrap();
    bench.restart();
    assert_eq!(bench.command(QUERY, 16), "00000000000000007f00000000000000");
}
