// SPDX-License-Identifier: Apache-2.0
//! The main board's devices on their ports.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use arch::{irq, layout};
use devices::bus::{Bus, IoDevice, Range};
use devices::chipset::{
    AcpiPm, Cmos, DebugPort, I8042, SerialPort, SystemControl, acpi_pm, cmos, debug_port, i8042, serial, system_control,
};
use devices::pci::{CONFIG_PORTS, PciRoot};

use super::{Platform, SetupError};

/// Where the serial port's output goes.
pub type SerialOutput = Box<dyn Write + Send>;

/// What outlives a machine: the next one gets it again.
pub struct Kept {
    /// Where the serial port's output goes.
    pub output: SerialOutput,
    /// The real-time clock with its battery-backed memory.
    pub clock: Arc<Cmos>,
}

/// How long the reader of the serial output may take for the rest at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// IRQ of the first serial port.
const COM1_IRQ: u32 = 4;
/// IRQ of the keyboard.
const KEYBOARD_IRQ: u32 = 1;
/// IRQ of the real-time clock.
const RTC_IRQ: u32 = 8;

// The tables that the guest reads name registers that devices decode. `arch` and `devices` know nothing of each other,
// so it is made sure of here.
const _: () = {
    assert!(layout::KEYBOARD_DATA_IO as u64 + i8042::COMMAND == layout::KEYBOARD_COMMAND_IO as u64);
    assert!(layout::S5_SLEEP_TYPE == acpi_pm::SLEEP_TYPE_S5);
};

/// What the machine still has to do with its chipset after it is on the bus.
pub(super) struct Chipset {
    pub(super) serial: Arc<SerialPort>,
    pub(super) power: Arc<AcpiPm>,
    pub(super) keyboard: Arc<I8042>,
    clock: Arc<Cmos>,
}

impl Chipset {
    pub(super) fn new(
        platform: &Platform,
        ports: &Bus,
        root: &Arc<PciRoot>,
        memory: u64,
        Kept { output, clock }: Kept,
    ) -> Result<Self, SetupError> {
        let failed = |source| SetupError::System { what: "start the serial port's output", source };
        let serial = Arc::new(SerialPort::new(platform.lines.edge_irq(COM1_IRQ)?, output).map_err(failed)?);
        let keyboard = Arc::new(I8042::new(platform.lines.share(KEYBOARD_IRQ)?));
        let power = Arc::new(AcpiPm::new(platform.lines.share(irq::SCI.into())?));
        let above_4g = memory.saturating_sub(layout::PCI_MMIO_START);
        let devices: [(u16, u64, Arc<dyn IoDevice>); 7] = [
            (layout::COM1_IO, serial::PORTS, serial.clone()),
            (layout::KEYBOARD_DATA_IO, i8042::PORTS, keyboard.clone()),
            (layout::RTC_IO, cmos::PORTS, clock.clone()),
            (layout::DEBUG_IO, debug_port::PORTS, Arc::new(DebugPort::default())),
            (layout::SYSTEM_CONTROL_IO, system_control::PORTS, Arc::new(SystemControl::default())),
            (layout::PM1A_EVENT_IO, acpi_pm::PORTS, power.clone()),
            (layout::PCI_CONFIG_IO, CONFIG_PORTS, root.clone()),
        ];
        devices.into_iter().try_for_each(|(base, count, device)| insert(ports, base, count, device))?;
        clock.power_on(platform.lines.share(RTC_IRQ)?, memory - above_4g, above_4g);
        Ok(Self { serial, power, keyboard, clock })
    }

    /// Writes out what the guest has sent, as far as its reader takes it.
    pub(super) fn drain(&self) {
        if !self.serial.drain(DRAIN_LIMIT) || self.serial.lost() > 0 {
            tracing::warn!("some of the guest's serial output is lost: it was not read in time");
        }
    }
}

impl Drop for Chipset {
    fn drop(&mut self) {
        self.clock.power_off();
    }
}

/// Puts a device on its `count` ports from `base` on.
pub(super) fn insert(ports: &Bus, base: u16, count: u64, device: Arc<dyn IoDevice>) -> Result<(), SetupError> {
    let range = Range::new(base.into(), count).ok_or(SetupError::Internal("a device without ports"))?;
    Ok(ports.insert(range, device)?)
}
