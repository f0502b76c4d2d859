// SPDX-License-Identifier: Apache-2.0
//! The whole of reference table 3.3, as written tables: nothing here calls the code's own rules.
use super::*;

/// What reads and writes of 1, 2 and 4 bytes at each header offset are for. `F` device features,
/// `D` driver features, `A` queue address, `N` queue size, `Q` queue select, `K` notify, `S` status,
/// `I` ISR, `C` and `V` the vectors; a digit is the skipped bytes; `.` nobody.
#[rustfmt::skip]
const HEADER: [(&str, &str); 24] = [
    //  R1  R2  R4    W1  W2  W4
    ("F0 F0 F0", ".  .  . "), // 0
    ("F1 F1 . ", ".  .  . "),
    ("F2 F2 . ", ".  .  . "),
    ("F3 F3 . ", ".  .  . "),
    ("D0 D0 D0", "D0 D0 D0"), // 4
    ("D1 D1 . ", "D1 D1 . "),
    ("D2 D2 . ", "D2 D2 . "),
    ("D3 D3 . ", "D3 D3 . "),
    ("A0 A0 A0", ".  A0 A0"), // 8
    ("A1 A1 . ", ".  .  . "),
    ("A2 A2 . ", ".  A2 . "),
    ("A3 A3 . ", ".  .  . "),
    ("N0 N0 N0", ".  .  . "), // 12
    (".  .  . ", ".  .  . "),
    ("Q0 Q0 Q0", "Q0 Q0 Q0"), // 14
    (".  .  . ", ".  .  . "),
    (".  .  . ", "K  K  K "), // 16
    (".  .  . ", ".  .  . "),
    ("S0 S0 S0", "S0 S0 S0"), // 18
    ("I  I  I ", ".  .  . "), // 19
    ("C0 C0 C0", "C0 C0 C0"), // 20, with MSI-X
    (".  .  . ", ".  .  . "),
    ("V0 V0 V0", "V0 V0 V0"), // 22, with MSI-X
    (".  .  . ", ".  .  . "),
];

/// The configuration structures of the standard, in order, as "name:bytes".
const STRUCTURES: [(DeviceType, &str); 7] = [
    (DeviceType::Net, "mac:6 status:2 max_virtqueue_pairs:2 mtu:2 speed:4 duplex:1"),
    (
        DeviceType::Block,
        "capacity:8 size_max:4 seg_max:4 cylinders:2 heads:1 sectors:1 blk_size:4 physical_block_exp:1 \
         alignment_offset:1 min_io_size:2 opt_io_size:4 writeback:1 unused0:1 num_queues:2 \
         max_discard_sectors:4 max_discard_seg:4 discard_sector_alignment:4 max_write_zeroes_sectors:4 \
         max_write_zeroes_seg:4 write_zeroes_may_unmap:1 unused1:3 max_secure_erase_sectors:4 \
         max_secure_erase_seg:4 secure_erase_sector_alignment:4 zone_sectors:4 max_open_zones:4 \
         max_active_zones:4 max_append_sectors:4 write_granularity:4 model:1",
    ),
    (DeviceType::Console, "cols:2 rows:2 max_nr_ports:4 emerg_wr:4"),
    (DeviceType::Entropy, ""),
    (DeviceType::Balloon, "num_pages:4 actual:4 free_page_hint_cmd_id:4 poison_val:4"),
    (
        DeviceType::Scsi,
        "num_queues:4 seg_max:4 max_sectors:4 cmd_per_lun:4 event_info_size:4 sense_size:4 cdb_size:4 \
         max_channel:2 max_target:2 max_lun:4",
    ),
    (DeviceType::NineP, "tag_len:2"),
];

/// For each byte of a configuration of `len` bytes, the number of its field; bytes after the
/// structure are fields of their own.
fn field_of_each_byte(structure: &str, len: usize) -> Vec<usize> {
    let sizes = structure.split_whitespace().map(|f| f.split_once(':').unwrap().1.parse().unwrap());
    let mut bytes: Vec<usize> = sizes.enumerate().flat_map(|(n, size): (usize, usize)| vec![n; size]).collect();
    while bytes.len() < len {
        bytes.push(1000 + bytes.len());
    }
    bytes.truncate(len);
    bytes
}

fn expected_header(offset: usize, width: Width, direction: Direction) -> Target {
    let (reads, writes) = HEADER[offset];
    let row = if direction == Direction::Read { reads } else { writes };
    let cell = row.split_whitespace().nth(width.bytes().trailing_zeros() as usize).unwrap();
    let skip = cell.get(1..).and_then(|digit| digit.parse().ok()).unwrap_or(0);
    let register = match &cell[..1] {
        "F" => Register::DeviceFeatures,
        "D" => Register::DriverFeatures,
        "A" => Register::QueueAddress,
        "N" => Register::QueueSize,
        "Q" => Register::QueueSelect,
        "S" => Register::Status,
        "C" => Register::ConfigVector,
        "V" => Register::QueueVector,
        "K" => return Target::Notify,
        "I" => return Target::Isr,
        _ => return Target::Nothing,
    };
    Target::Common { register, skip }
}

/// Checks a device target byte by byte: every byte inside is in one piece, pieces ascend, none is in
/// two fields, and no field is cut without need (three bytes are not a width).
fn check_device(target: Target, fields: &[usize], offset: usize, bytes: usize) {
    let wanted = fields.get(offset..fields.len().min(offset + bytes)).unwrap_or(&[]);
    let Target::Device(split) = target else {
        assert_eq!((target, wanted.len()), (Target::Nothing, 0), "offset {offset}");
        return;
    };
    let mut covered = 0;
    for piece in split.pieces() {
        assert_eq!(usize::from(piece.position), covered, "ascending and without gaps");
        assert_eq!(usize::from(piece.offset), offset + covered);
        let run = &wanted[covered..covered + piece.width.bytes()];
        assert!(run.iter().all(|field| field == &run[0]), "{piece:?} crosses a field border");
        covered += piece.width.bytes();
        let cut = wanted.get(covered) == Some(&run[0]);
        assert!(!cut || wanted.iter().filter(|field| *field == &run[0]).count() == 3, "{piece:?} cuts a field");
    }
    assert!(covered > 0 && covered == wanted.len());
}

#[test]
fn every_offset_width_direction_and_msix_state_of_every_type() {
    let mut seen = 0;
    for (device, structure) in STRUCTURES {
        let config_len = device.bar0_size() as u8 - 24;
        let fields = field_of_each_byte(structure, config_len.into());
        let layout = Layout { device, config_len };
        for offset in 0..128_usize {
            for width in [Width::B1, Width::B2, Width::B4] {
                for direction in [Direction::Read, Direction::Write] {
                    for msix in [false, true] {
                        let target = layout.decode(offset as u64, width, direction, msix);
                        let start = if msix { 24 } else { 20 };
                        if offset < start {
                            let expected = expected_header(offset, width, direction);
                            assert_eq!(target, expected, "{offset} {width:?} {direction:?} MSI-X {msix}");
                        } else {
                            check_device(target, &fields, offset - start, width.bytes());
                        }
                        seen += 1;
                    }
                }
            }
        }
    }
    assert_eq!(seen, 7 * 128 * 3 * 2 * 2);
}

#[test]
fn total_for_accesses_that_no_port_can_make() {
    let layout = Layout { device: DeviceType::Block, config_len: 255 };
    for offset in [0, 18, 60, 255, 256, u64::MAX - 1, u64::MAX] {
        for msix in [false, true] {
            assert_eq!(layout.decode(offset, Width::B8, Direction::Read, msix), Target::Nothing);
            let _ = layout.decode(offset, Width::B4, Direction::Write, msix);
        }
    }
    assert_eq!(layout.decode(u64::MAX, Width::B1, Direction::Read, false), Target::Nothing);
}
