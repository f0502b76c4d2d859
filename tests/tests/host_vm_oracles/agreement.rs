// SPDX-License-Identifier: Apache-2.0
//! Linux' virtio_vfio_pci makes a legacy BAR 0 out of administration commands, as we do. Both are driven through the same
//! accesses to the same VF of the same PF, one after the other, and have to see the same.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, Wait};
use devices::function::vfio::{DmaSpace, OpenOptions, VfToken, VfioBar0Registers, VfioFunction};
use devices::function::{Bars, Configuration, Interrupts, PciFunction};
use vmm_sys_util::eventfd::EventFd;

use crate::linux::{bind, pf, set_vfs, vf, write};
use crate::{Outcome, check, text};

const PATIENCE: Duration = Duration::from_secs(20);
const COMMAND: u16 = 4;
const IO: u32 = 1;
const BAR0: u8 = 0;
/// Bytes of the legacy header without and with MSI-X; the device configuration follows.
const HEADER: [u64; 2] = [20, 24];

/// One access: area, offset in it, width, and the value of a write.
#[derive(Clone, Copy, Debug)]
struct Access(Area, u8, Width, Option<u32>);

/// What came of it; the errors of the two ways are not the same, so only that there was one counts.
type Seen = Result<u32, ()>;

const fn get(offset: u8, width: Width) -> Access {
    Access(Area::Common, offset, width, None)
}

const fn set(offset: u8, width: Width, value: u32) -> Access {
    Access(Area::Common, offset, width, Some(value))
}

/// What a driver does, and what it should not. Without MSI-X, registers 20 and 22 are not there to be asked for.
fn script(msix: bool) -> Vec<Access> {
    use Width::{B1, B2, B4};
    let mut all = vec![set(18, B1, 0), get(18, B1), set(18, B1, 1), set(18, B1, 3), get(18, B1)];
    all.extend([get(0, B4), get(0, B1), get(2, B2), set(4, B4, 0x0001_0020), get(4, B4), get(5, B2)]);
    for queue in 0..4 {
        all.extend([set(14, B2, queue), get(14, B2), get(12, B2), get(8, B4), set(8, B4, 0x40 + queue), get(8, B4)]);
        if msix {
            all.extend([get(22, B2), set(22, B2, queue), get(22, B2), set(22, B2, 99), get(22, B2)]);
        }
        all.extend([set(8, B4, 0), get(8, B4), set(12, B2, 64), get(12, B2)]);
    }
    if msix {
        all.extend([get(20, B2), set(20, B2, 1), get(20, B2), set(20, B2, 0xffff), get(20, B2)]);
    }
    all.extend([get(19, B1), set(18, B1, 7), get(18, B1), set(18, B1, 0x83), get(18, B1)]);
    // Registers cut, and accesses across their borders, which a PF refuses.
    all.extend([get(1, B2), get(14, B4), set(17, B2, 1), get(18, B2), set(0, B4, 5), get(3, B1)]);
    let config = |offset, width, value| Access(Area::Device, offset, width, value);
    all.extend((0..8).map(|offset| config(offset, B1, None)));
    all.extend([config(0, B4, None), config(4, B2, None), config(6, B2, None), config(4, B4, None)]);
    all.extend([config(5, B1, Some(0x77)), config(0, B4, None), config(5, B1, None), config(6, B2, Some(0))]);
    all.extend([config(6, B2, None), set(18, B1, 0), get(18, B1), config(5, B1, None), get(4, B4), get(14, B2)]);
    all
}

/// What is seen through BAR 0 of a function, as a guest's I/O ports would be.
fn through_region(vf: &VfioFunction, msix: bool) -> Vec<Seen> {
    let header = HEADER[usize::from(msix)];
    let run = |Access(area, offset, width, value): Access| {
        let at = u64::from(offset) + if area == Area::Device { header } else { 0 };
        match value {
            Some(value) => vf.region_write(BAR0, at, width, value.into()).map(|()| 0).map_err(drop),
            None => vf.region_read(BAR0, at, width).map(|value| value as u32).map_err(drop),
        }
    };
    script(msix).into_iter().map(run).collect()
}

/// What is seen through `registers`.
fn through_registers(registers: &dyn LegacyRegisters, msix: bool) -> Vec<Seen> {
    let cancelled = AtomicBool::new(false);
    let run = |Access(area, offset, width, value): Access| {
        let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
        match value {
            Some(value) => registers.write(area, offset, width, value, &wait).map(|()| 0).map_err(drop),
            None => registers.read(area, offset, width, &wait).map_err(drop),
        }
    };
    script(msix).into_iter().map(run).collect()
}

fn set_msix(vf: &VfioFunction, on: bool) -> Outcome {
    if !on {
        return vf.disable_msix().map_err(text);
    }
    let events = (0..vf.msix_vectors()).map(|_| EventFd::new(0).map_err(text)).collect::<Result<Vec<_>, _>>()?;
    vf.set_msix(&events.iter().map(Some).collect::<Vec<_>>()).map_err(text)
}

/// Region 0 of the kernel's driver, and our back end on it, without and with MSI-X.
fn by_the_kernel() -> Outcome<Vec<(&'static str, bool, Vec<Seen>)>> {
    let pf = pf()?;
    bind(&pf, "virtio-pci")?;
    set_vfs(2, false)?;
    let address = vf(0)?;
    bind(&address, "virtio_vfio_pci")?;
    let space = DmaSpace::new(None);
    let options = OpenOptions::new(address.parse().map_err(text)?);
    let function = Arc::new(VfioFunction::open(&space, &options).map_err(text)?);
    check(function.legacy_region().is_some(), "virtio_vfio_pci shows no legacy region: no admin commands for it?")?;
    let command = function.config_read(COMMAND, Width::B2).map_err(text)?;
    check(function.region_read(BAR0, 18, Width::B1).is_err(), "BAR 0 answers while COMMAND.IO is off")?;
    function.config_write(COMMAND, Width::B2, command | IO).map_err(text)?;
    let mut seen = Vec::new();
    for msix in [false, true] {
        set_msix(&function, msix)?;
        seen.push(("BAR 0 of virtio_vfio_pci", msix, through_region(&function, msix)));
    }
    set_msix(&function, false)?;
    let registers = VfioBar0Registers::new(&function, Vec::new()).map_err(text)?;
    for msix in [false, true] {
        set_msix(&function, msix)?;
        seen.push(("VfioBar0Registers", msix, through_registers(&registers, msix)));
    }
    drop(registers);
    drop(function);
    set_vfs(0, false)?;
    Ok(seen)
}

/// Our own administration commands, from a PF that is ours.
fn by_us() -> Outcome<Vec<(&'static str, bool, Vec<Seen>)>> {
    let address = pf()?;
    write("/sys/module/vfio_pci/parameters/enable_sriov", "1")?;
    bind(&address, "vfio-pci")?;
    let token = VfToken::from_bytes(*b"software PF test");
    let open = |address: &str, token| {
        let bdf = address.parse().map_err(text)?;
        VfioFunction::open(&DmaSpace::new(None), &OpenOptions { token, ..OpenOptions::new(bdf) }).map_err(text)
    };
    let token = Some(token);
    let function: Arc<dyn PciFunction> = Arc::new(open(&address, token)?);
    let driver = PfDriver::start(function, Instant::now() + PATIENCE).map_err(text)?;
    set_vfs(2, false)?;
    let member_address = vf(0)?;
    bind(&member_address, "vfio-pci")?;
    let member = open(&member_address, token)?;
    let cancelled = AtomicBool::new(false);
    let wait = Wait { deadline: Instant::now() + PATIENCE, cancelled: &cancelled };
    driver.negotiate_commands(&wait).map_err(text)?;
    let channel: Arc<dyn AdminChannel> = driver.channel();
    let registers = AdminRegisters::new(channel, NonZeroU16::MIN, None);
    let mut seen = Vec::new();
    for msix in [false, true] {
        set_msix(&member, msix)?;
        seen.push(("AdminRegisters", msix, through_registers(&registers, msix)));
    }
    drop((registers, member));
    driver.stop().map_err(text)?;
    set_vfs(0, false)?;
    Ok(seen)
}

pub(crate) fn agrees() -> Outcome {
    let kernel = by_the_kernel()?;
    let ours = by_us()?;
    for (_, msix, expected) in &ours {
        // A script that fails throughout would agree as well.
        let good = expected.iter().filter(|seen| seen.is_ok()).count();
        check(good > expected.len() * 8 / 10, format!("only {good} of {} accesses worked", expected.len()))?;
        check(expected.iter().any(Result::is_err), "nothing was refused")?;
        check(expected[4] == Ok(3), format!("status {:?}", expected[4]))?;
        for (what, _, seen) in kernel.iter().filter(|(_, with, _)| with == msix) {
            for ((access, seen), expected) in script(*msix).iter().zip(seen).zip(expected) {
                check(
                    seen == expected,
                    format!("{access:x?}, MSI-X {msix}: {what} {seen:x?}, AdminRegisters {expected:x?}"),
                )?;
            }
        }
        println!("{} accesses, MSI-X {msix}: {} ways agree with AdminRegisters", expected.len(), kernel.len() / 2);
    }
    Ok(())
}
