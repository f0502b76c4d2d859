// SPDX-License-Identifier: Apache-2.0
//! Numbers of group administration commands (virtio 1.4, "Group administration commands"): opcodes,
//! group types, status and status qualifier. Numbers and names, nothing else.

/// Returns the list of commands the device supports for a group type.
pub const LIST_QUERY: u16 = 0x00;
/// Chooses the commands that will be used; nothing else may be outstanding meanwhile.
pub const LIST_USE: u16 = 0x01;
/// Writes a field of a member's legacy common configuration.
pub const LEGACY_COMMON_CFG_WRITE: u16 = 0x02;
/// Reads a field of a member's legacy common configuration.
pub const LEGACY_COMMON_CFG_READ: u16 = 0x03;
/// Writes a field of a member's legacy device-specific configuration.
pub const LEGACY_DEV_CFG_WRITE: u16 = 0x04;
/// Reads a field of a member's legacy device-specific configuration.
pub const LEGACY_DEV_CFG_READ: u16 = 0x05;
/// Returns the addresses that take a member's legacy queue notifications.
pub const LEGACY_NOTIFY_INFO: u16 = 0x06;
/// Returns the list of capability ids.
pub const CAP_ID_LIST_QUERY: u16 = 0x07;
/// Reads a device capability.
pub const DEVICE_CAP_GET: u16 = 0x08;
/// Sets a driver capability.
pub const DRIVER_CAP_SET: u16 = 0x09;
/// Creates a resource object.
pub const RESOURCE_OBJ_CREATE: u16 = 0x0a;
/// Modifies a resource object.
pub const RESOURCE_OBJ_MODIFY: u16 = 0x0b;
/// Reads a resource object.
pub const RESOURCE_OBJ_QUERY: u16 = 0x0c;
/// Destroys a resource object.
pub const RESOURCE_OBJ_DESTROY: u16 = 0x0d;
/// Returns size or list of device parts.
pub const DEV_PARTS_METADATA_GET: u16 = 0x0e;
/// Reads device parts.
pub const DEV_PARTS_GET: u16 = 0x0f;
/// Writes device parts.
pub const DEV_PARTS_SET: u16 = 0x10;
/// Stops or resumes a member.
pub const DEV_MODE_SET: u16 = 0x11;

/// Group type: the device itself, member id 0.
pub const GROUP_SELF: u16 = 0;
/// Group type: virtual functions of the PF, member id = VF number 1..=NumVFs.
pub const GROUP_SRIOV: u16 = 1;

/// Bits of the two list commands.
pub const MASK_LIST: u64 = 1 << LIST_QUERY | 1 << LIST_USE;
/// Bits of the four legacy access commands, which a device supports all or none of.
pub const MASK_LEGACY_ACCESS: u64 =
    1 << LEGACY_COMMON_CFG_WRITE | 1 << LEGACY_COMMON_CFG_READ | 1 << LEGACY_DEV_CFG_WRITE | 1 << LEGACY_DEV_CFG_READ;
/// Bit of the optional notify info command.
pub const MASK_NOTIFY_INFO: u64 = 1 << LEGACY_NOTIFY_INFO;

const NAMES: [&str; 18] = [
    "LIST_QUERY",
    "LIST_USE",
    "LEGACY_COMMON_CFG_WRITE",
    "LEGACY_COMMON_CFG_READ",
    "LEGACY_DEV_CFG_WRITE",
    "LEGACY_DEV_CFG_READ",
    "LEGACY_NOTIFY_INFO",
    "CAP_ID_LIST_QUERY",
    "DEVICE_CAP_GET",
    "DRIVER_CAP_SET",
    "RESOURCE_OBJ_CREATE",
    "RESOURCE_OBJ_MODIFY",
    "RESOURCE_OBJ_QUERY",
    "RESOURCE_OBJ_DESTROY",
    "DEV_PARTS_METADATA_GET",
    "DEV_PARTS_GET",
    "DEV_PARTS_SET",
    "DEV_MODE_SET",
];

/// The command's name in the standard without its `VIRTIO_ADMIN_CMD_` prefix, for logs.
pub fn name(opcode: u16) -> &'static str {
    NAMES.get(usize::from(opcode)).copied().unwrap_or("unassigned opcode")
}

/// Values of the 16-bit status word: errno numbers of Linux.
pub mod status {
    /// The command succeeded.
    pub const OK: u16 = 0;
    /// No such capability or resource.
    pub const ENXIO: u16 = 6;
    /// Nothing happened; the driver should try again.
    pub const EAGAIN: u16 = 11;
    /// Nothing happened for lack of device memory; trying again is safe.
    pub const ENOMEM: u16 = 12;
    /// The device is busy.
    pub const EBUSY: u16 = 16;
    /// The command is wrong; no state changed.
    pub const EINVAL: u16 = 22;
    /// Out of resources.
    pub const ENOSPC: u16 = 28;
}

/// Values of the 16-bit status qualifier.
pub mod qualifier {
    /// Goes with status OK.
    pub const OK: u16 = 0;
    /// The command is wrong, no detail.
    pub const INVALID_COMMAND: u16 = 1;
    /// The opcode is unknown, or not in the list in use.
    pub const INVALID_OPCODE: u16 = 2;
    /// A field of the command-specific data is wrong.
    pub const INVALID_FIELD: u16 = 3;
    /// The group type is unknown, or VF Enable is clear.
    pub const INVALID_GROUP: u16 = 4;
    /// The member id is not in the group.
    pub const INVALID_MEMBER: u16 = 5;
    /// The device is busy for a while; should be tried again.
    pub const TRYAGAIN: u16 = 7;
}

/// Status and qualifier with reserved numbers replaced as the standard tells drivers to: an unknown
/// status is EINVAL, an unknown qualifier is INVALID_COMMAND.
pub fn normalize(status: u16, qualifier: u16) -> (u16, u16) {
    let status = match status {
        status::OK
        | status::ENXIO
        | status::EAGAIN
        | status::ENOMEM
        | status::EBUSY
        | status::EINVAL
        | status::ENOSPC => status,
        _ => status::EINVAL,
    };
    let qualifier = match qualifier {
        qualifier::OK..=qualifier::TRYAGAIN => qualifier,
        _ => qualifier::INVALID_COMMAND,
    };
    (status, qualifier)
}
