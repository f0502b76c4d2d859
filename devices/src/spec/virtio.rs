// SPDX-License-Identifier: Apache-2.0
//! Numbers of virtio that more than one room needs (virtio 1.4; sections by name, which stay when numbers move).

/// Vendor id of all virtio functions ("PCI Device Discovery").
pub const VENDOR_ID: u16 = 0x1af4;
/// "No vector" in a vector register ("MSI-X Vector Configuration").
pub const NO_VECTOR: u16 = 0xffff;

/// Feature bits of the transport ("Reserved Feature Bits", and ANY_LAYOUT of the legacy interface).
pub mod feature {
    /// Legacy: buffers may be laid out in any way.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Indirect descriptors.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// `used_event` and `avail_event`.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// Not a legacy device.
    pub const VERSION_1: u64 = 1 << 32;
    /// DMA goes through the platform's IOMMU.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// Memory accesses are ordered by the platform's rules.
    pub const ORDER_PLATFORM: u64 = 1 << 36;
    /// Single root I/O virtualization.
    pub const SR_IOV: u64 = 1 << 37;
    /// Administration virtqueues.
    pub const ADMIN_VQ: u64 = 1 << 41;
}

/// Structures that capabilities name ("Virtio Structure PCI Capabilities").
pub mod cfg_type {
    /// Common configuration.
    pub const COMMON: u8 = 1;
    /// Notifications.
    pub const NOTIFY: u8 = 2;
    /// Interrupt status.
    pub const ISR: u8 = 3;
    /// Device configuration.
    pub const DEVICE: u8 = 4;
    /// The window that reaches BARs through configuration space.
    pub const PCI: u8 = 5;
    /// Shared memory.
    pub const SHARED_MEMORY: u8 = 8;
}

/// Bits of device_status ("Device Status Field").
pub mod status {
    /// The guest has seen the device.
    pub const ACKNOWLEDGE: u8 = 0x01;
    /// A driver is there.
    pub const DRIVER: u8 = 0x02;
    /// The driver is ready.
    pub const DRIVER_OK: u8 = 0x04;
    /// The features are agreed on; not part of legacy.
    pub const FEATURES_OK: u8 = 0x08;
    /// The device cannot go on; not part of legacy.
    pub const NEEDS_RESET: u8 = 0x40;
    /// The driver gave up.
    pub const FAILED: u8 = 0x80;
    /// Their names.
    pub const NAMES: [(u8, &str); 6] = [
        (ACKNOWLEDGE, "ACKNOWLEDGE"),
        (DRIVER, "DRIVER"),
        (DRIVER_OK, "DRIVER_OK"),
        (FEATURES_OK, "FEATURES_OK"),
        (NEEDS_RESET, "DEVICE_NEEDS_RESET"),
        (FAILED, "FAILED"),
    ];
    /// The bits that legacy drivers know.
    pub const LEGACY: u8 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FAILED;
}

/// Bits of the interrupt status ("ISR status capability").
pub mod isr {
    /// A queue was used.
    pub const QUEUE: u8 = 1 << 0;
    /// The configuration changed.
    pub const CONFIG: u8 = 1 << 1;
}

/// Offsets in the legacy header, in bytes ("Legacy Interfaces: A Note on PCI Device Layout").
pub mod legacy {
    /// Features of the device, low 32 bits.
    pub const DEVICE_FEATURES: u8 = 0;
    /// Features of the driver, low 32 bits.
    pub const DRIVER_FEATURES: u8 = 4;
    /// Page number of the selected queue, 4 bytes.
    pub const QUEUE_ADDRESS: u8 = 8;
    /// Size of the selected queue, 2 bytes.
    pub const QUEUE_SIZE: u8 = 12;
    /// Which queue the others are about, 2 bytes.
    pub const QUEUE_SELECT: u8 = 14;
    /// Kicks, 2 bytes.
    pub const QUEUE_NOTIFY: u8 = 16;
    /// device_status, 1 byte.
    pub const DEVICE_STATUS: u8 = 18;
    /// Interrupt status, 1 byte; a read clears it.
    pub const ISR_STATUS: u8 = 19;
    /// Vector for configuration changes, 2 bytes, while MSI-X is enabled.
    pub const CONFIG_VECTOR: u8 = 20;
    /// Vector of the selected queue, 2 bytes, while MSI-X is enabled.
    pub const QUEUE_VECTOR: u8 = 22;
    /// End of the header without MSI-X, where device configuration begins.
    pub const CONFIG: u8 = 20;
    /// End of the header with MSI-X.
    pub const CONFIG_WITH_MSIX: u8 = 24;
}

/// Offsets in the common configuration, in bytes ("Common configuration structure layout").
pub mod common {
    /// Which 32 bits of the device's features, 4 bytes.
    pub const DEVICE_FEATURE_SELECT: u64 = 0;
    /// Those features.
    pub const DEVICE_FEATURE: u64 = 4;
    /// Which 32 bits of the driver's features, 4 bytes.
    pub const DRIVER_FEATURE_SELECT: u64 = 8;
    /// Those features.
    pub const DRIVER_FEATURE: u64 = 12;
    /// Vector for configuration changes, 2 bytes.
    pub const CONFIG_MSIX_VECTOR: u64 = 16;
    /// Queues, 2 bytes.
    pub const NUM_QUEUES: u64 = 18;
    /// device_status, 1 byte.
    pub const DEVICE_STATUS: u64 = 20;
    /// Generation of the device configuration, 1 byte.
    pub const CONFIG_GENERATION: u64 = 21;
    /// Which queue the others are about, 2 bytes.
    pub const QUEUE_SELECT: u64 = 22;
    /// Size of the selected queue, 2 bytes.
    pub const QUEUE_SIZE: u64 = 24;
    /// Its vector, 2 bytes.
    pub const QUEUE_MSIX_VECTOR: u64 = 26;
    /// Whether it is in use, 2 bytes.
    pub const QUEUE_ENABLE: u64 = 28;
    /// Its place in the notification area, 2 bytes.
    pub const QUEUE_NOTIFY_OFF: u64 = 30;
    /// Address of its descriptors, 8 bytes.
    pub const QUEUE_DESC: u64 = 32;
    /// Address of its available ring, 8 bytes.
    pub const QUEUE_DRIVER: u64 = 40;
    /// Address of its used ring, 8 bytes.
    pub const QUEUE_DEVICE: u64 = 48;
    /// Index of the first administration virtqueue, 2 bytes.
    pub const ADMIN_QUEUE_INDEX: u64 = 60;
    /// Administration virtqueues, 2 bytes.
    pub const ADMIN_QUEUE_NUM: u64 = 62;
    /// Bytes of the structure, with the administration virtqueue's fields.
    pub const LEN: usize = 64;
}
