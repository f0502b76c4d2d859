// SPDX-License-Identifier: Apache-2.0
//! The few devices of a PC's main board that old guests take for granted and KVM does not have:
//! serial port, keyboard and its controller, CMOS and clock, ACPI power management, POST code port, text screen.
//! They know ports and registers, and nothing of KVM; PIC, PIT, port 0x61 and the edge/level
//! registers are KVM's own.
//!
//! | module | ports |
//! | --- | --- |
//! | [`serial`] | 0x3f8-0x3ff |
//! | [`i8042`] | 0x60-0x64 |
//! | [`cmos`] | 0x70-0x71 |
//! | [`debug_port`] | 0x80 |
//! | [`system_control`] | 0x92 |
//! | [`vga`] | 0x3b0-0x3df, if there is a screen |
//! | [`firmware_log`] | 0x402, if somebody wants it |
//! | [`fw_cfg`] | 0x510-0x51b, with firmware |
//! | [`acpi_pm`] | 0x600-0x60b |
#![forbid(unsafe_code)]

pub mod acpi_pm;
mod bytewise;
pub mod calendar;
pub mod cmos;
pub mod debug_port;
pub mod firmware_log;
pub mod fw_cfg;
pub mod i8042;
pub mod keyboard;
pub mod lossy_output;
pub mod serial;
pub mod system_control;
pub mod vga;

pub use acpi_pm::AcpiPm;
pub use cmos::Cmos;
pub use debug_port::DebugPort;
pub use firmware_log::FirmwareLog;
pub use fw_cfg::FwCfg;
pub use i8042::I8042;
pub use lossy_output::LossyOutput;
pub use serial::SerialPort;
pub use system_control::SystemControl;
pub use vga::Vga;

#[cfg(test)]
mod saved_tests;

use std::time::Duration;

/// A clock that tests can turn by hand: time since some fixed moment.
pub type Clock = Box<dyn Fn() -> Duration + Send + Sync>;
