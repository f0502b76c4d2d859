// SPDX-License-Identifier: Apache-2.0
//! Names of registers and configuration fields, as the standard has them. Pure.

use std::borrow::Cow;
use std::fmt::Write;

use crate::transitional::layout::decode::Target;
use crate::transitional::layout::fields::Split;
use crate::transitional::layout::identity::DeviceType;
use crate::transitional::telemetry::access_counts::register_name;

/// Names of the fields that start at these offsets; `fields` has their sizes.
type Names = &'static [(u8, &'static str)];

const NET: Names = &[(0, "mac"), (6, "status"), (8, "max_virtqueue_pairs"), (10, "mtu"), (12, "speed"), (16, "duplex")];
const BLOCK: Names = &[
    (0, "capacity"),
    (8, "size_max"),
    (12, "seg_max"),
    (16, "cylinders"),
    (18, "heads"),
    (19, "sectors"),
    (20, "blk_size"),
    (24, "physical_block_exp"),
    (25, "alignment_offset"),
    (26, "min_io_size"),
    (28, "opt_io_size"),
    (32, "writeback"),
    (33, "unused0"),
    (34, "num_queues"),
    (36, "max_discard_sectors"),
    (40, "max_discard_seg"),
    (44, "discard_sector_alignment"),
    (48, "max_write_zeroes_sectors"),
    (52, "max_write_zeroes_seg"),
    (56, "write_zeroes_may_unmap"),
    (57, "unused1"),
    (60, "max_secure_erase_sectors"),
    (64, "max_secure_erase_seg"),
    (68, "secure_erase_sector_alignment"),
    (72, "zone_sectors"),
    (76, "max_open_zones"),
    (80, "max_active_zones"),
    (84, "max_append_sectors"),
    (88, "write_granularity"),
    (92, "model"),
];
const CONSOLE: Names = &[(0, "cols"), (2, "rows"), (4, "max_nr_ports"), (8, "emerg_wr")];
const BALLOON: Names = &[(0, "num_pages"), (4, "actual"), (8, "free_page_hint_cmd_id"), (12, "poison_val")];
const SCSI: Names = &[
    (0, "num_queues"),
    (4, "seg_max"),
    (8, "max_sectors"),
    (12, "cmd_per_lun"),
    (16, "event_info_size"),
    (20, "sense_size"),
    (24, "cdb_size"),
    (28, "max_channel"),
    (30, "max_target"),
    (32, "max_lun"),
];
const NINE_P: Names = &[(0, "tag_len")];

pub(in crate::transitional) const fn names(device: DeviceType) -> Names {
    match device {
        DeviceType::Net => NET,
        DeviceType::Block => BLOCK,
        DeviceType::Console => CONSOLE,
        DeviceType::Entropy => &[],
        DeviceType::Balloon => BALLOON,
        DeviceType::Scsi => SCSI,
        DeviceType::NineP => NINE_P,
    }
}

/// The register, such as `queue_size`; of device configuration `config.` and its fields, such as `config.mac+2` or
/// `config.heads,sectors`; `none` for holes.
pub fn target_name(device: DeviceType, target: &Target) -> Cow<'static, str> {
    match target {
        Target::Device(split) => config_name(device, split).into(),
        _ => register_name(target).into(),
    }
}

fn config_name(device: DeviceType, split: &Split) -> String {
    let mut text = "config.".to_owned();
    let mut last = None;
    for piece in split.pieces() {
        let field = device.field_at(piece.offset);
        // Several pieces of one field are one part of it.
        if last.is_some() && last == field {
            continue;
        }
        let comma = if text.ends_with('.') { "" } else { "," };
        let name = field.and_then(|start| names(device).iter().find(|(at, _)| *at == start));
        // Writing into a string cannot fail.
        let _ = match (name, field) {
            (Some((start, name)), _) if *start == piece.offset => write!(text, "{comma}{name}"),
            (Some((start, name)), _) => write!(text, "{comma}{name}+{}", piece.offset.saturating_sub(*start)),
            _ => write!(text, "{comma}{}", piece.offset),
        };
        last = field;
    }
    text
}
