// SPDX-License-Identifier: Apache-2.0
//! The kernel's own `virtio_vfio_pci` on a VF of the software PF, whose driver is the kernel's own
//! virtio-pci: an independent reader and writer of our admin commands.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::bus::Width;
use devices::contract::{Answer, Area, LegacyRegisters, RegisterError, Wait};
use devices::function::vfio::{DmaSpace, Mode, VfioBar0Registers, VfioFunction};
use devices::function::{Bars, Configuration, Interrupts, Lifetime};
use devices::spec::virtio::legacy;

use crate::disk::{chain, event};
use crate::{Outcome, check, open, options};

const FEATURE_MAC: u32 = 1 << 5;
const FEATURE_STATUS: u32 = 1 << 16;

struct Registers {
    registers: VfioBar0Registers,
    never: AtomicBool,
}

impl Registers {
    fn wait(&self) -> Wait<'_> {
        Wait { deadline: Instant::now() + Duration::from_secs(10), cancelled: &self.never }
    }

    fn read(&self, area: Area, offset: u8, width: Width) -> Outcome<u32> {
        let value = self.registers.read(area, offset, width, &self.wait());
        value.map_err(|error| format!("{area:?} {offset}: {}", chain(&error)))
    }

    fn write(&self, offset: u8, width: Width, value: u32) -> Outcome {
        let written = self.registers.write(Area::Common, offset, width, value, &self.wait());
        written.map_err(|error| format!("{offset}: {}", chain(&error)))
    }

    fn is_missing(&self, area: Area, offset: u8, width: Width) -> bool {
        let value = self.registers.read(area, offset, width, &self.wait());
        matches!(value, Err(RegisterError::NoSuchRegister { .. }))
    }

    fn mac(&self) -> Outcome<[u8; 6]> {
        let mut mac = [0; 6];
        for (offset, byte) in mac.iter_mut().enumerate() {
            *byte = self.read(Area::Device, offset as u8, Width::B1)? as u8;
        }
        Ok(mac)
    }
}

pub(crate) fn registers(mode: Mode) -> Outcome {
    let function = Arc::new(open(&DmaSpace::new(None), &options("legacy", mode)?)?);
    check(function.legacy_region() == Some(32), format!("region of {:?} bytes", function.legacy_region()))?;
    let read_id = || function.config_read(0, Width::B4).map_err(|e| chain(&e));
    check(read_id()? == 0x1000_1af4, "the kernel shows no transitional id")?;
    check(function.region(0).is_some_and(|region| region.is_io && region.size == 32), "region 0")?;
    let off = function.region_read(0, legacy::DEVICE_STATUS.into(), Width::B1);
    check(off.is_err(), "the kernel takes accesses without I/O decoding")?;

    let registers = VfioBar0Registers::new(&function, Vec::new()).map_err(|error| chain(&error))?;
    let registers = Registers { registers, never: AtomicBool::new(false) };
    check(read_id()? == 0x1041_1af4 && function.region(0).is_none(), "the VF does not look like one")?;
    // As the transitional function writes COMMAND, which knows nothing of I/O decoding below.
    function.config_write(4, Width::B2, 0x402).map_err(|e| chain(&e))?;
    handshake(&registers)?;
    layout(&function, &registers)?;
    registers.write(legacy::DEVICE_STATUS, Width::B1, 0)?;
    registers.write(legacy::DEVICE_STATUS, Width::B1, 1)?;
    function.reset().map_err(|e| chain(&e))?;
    check(registers.read(Area::Common, legacy::DEVICE_STATUS, Width::B1)? == 0, "status after a function-level reset")
}

fn handshake(registers: &Registers) -> Outcome {
    registers.write(legacy::DEVICE_STATUS, Width::B1, 0)?;
    for status in [1, 3] {
        registers.write(legacy::DEVICE_STATUS, Width::B1, status)?;
        check(registers.read(Area::Common, legacy::DEVICE_STATUS, Width::B1)? == status, "status is not kept")?;
    }
    let features = registers.read(Area::Common, legacy::DEVICE_FEATURES, Width::B4)?;
    let wanted = FEATURE_MAC | FEATURE_STATUS;
    check(features & wanted == wanted, format!("features {features:#x}"))?;
    registers.write(legacy::QUEUE_SELECT, Width::B2, 1)?;
    let size = registers.read(Area::Common, legacy::QUEUE_SIZE, Width::B2)?;
    check(size.is_power_of_two(), format!("queue 1 has {size} entries"))?;
    // A queue that is not set up: nothing happens, without an error.
    registers.write(legacy::QUEUE_NOTIFY, Width::B2, 1)
}

/// Device configuration and vectors, while the host's MSI-X is off, on, and off again.
fn layout(function: &VfioFunction, registers: &Registers) -> Outcome {
    let expected = [0x52, 0x54, 0x00, 0x4c, 0x58];
    let mac = registers.mac()?;
    check(mac.starts_with(&expected), format!("MAC {mac:02x?}"))?;
    let link = registers.read(Area::Device, 6, Width::B2)?;
    check(registers.is_missing(Area::Common, legacy::QUEUE_VECTOR, Width::B2), "vectors without MSI-X")?;
    check(!registers.is_missing(Area::Device, 8, Width::B2), "12 bytes without MSI-X")?;
    let event = event()?;
    function.set_msix(&[None, Some(&event)]).map_err(|e| chain(&e))?;
    check(registers.mac()? == mac, "the MAC moved with MSI-X")?;
    check(registers.read(Area::Device, 6, Width::B2)? == link, "the link state moved with MSI-X")?;
    registers.write(legacy::QUEUE_VECTOR, Width::B2, 1)?;
    check(registers.read(Area::Common, legacy::QUEUE_VECTOR, Width::B2)? == 1, "the vector is not kept")?;
    check(registers.is_missing(Area::Device, 8, Width::B1), "more than 32 bytes")?;
    function.disable_msix().map_err(|e| chain(&e))?;
    check(registers.mac()? == mac, "the MAC moved without MSI-X")
}

/// What the device refuses comes as such, and no access is lost in the kernel.
pub(crate) fn refusals() -> Outcome {
    let function = Arc::new(open(&DmaSpace::new(None), &options("legacy", Mode::Group)?)?);
    let registers = VfioBar0Registers::new(&function, Vec::new()).map_err(|error| chain(&error))?;
    let registers = Registers { registers, never: AtomicBool::new(false) };
    // Across two fields: the device must fail it.
    let across = registers.registers.read(Area::Common, 17, Width::B2, &registers.wait());
    match across {
        Err(RegisterError::Refused(Answer { status: 22, .. }) | RegisterError::Function(_)) => {}
        other => return Err(format!("a read across two fields: {other:?}")),
    }
    println!("a read across two fields: {across:?}");
    check(registers.read(Area::Common, legacy::DEVICE_STATUS, Width::B1).is_ok(), "no access works afterwards")
}
