// SPDX-License-Identifier: Apache-2.0
//! The software PF driven from this process, through the IOMMU: the path of real hardware.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminRegisters, PfDriver};
use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, NotifyAddress, Wait};
use devices::function::vfio::sysfs::Sysfs;
use devices::function::vfio::{DmaSpace, Mode};
use devices::function::{Bars, Dma};

use crate::disk::{chain, event, memory};
use crate::opening::TOKEN;
use crate::{Outcome, address, check, open, with_token};

const STATUS: u8 = 18;

/// PF and VF each in a space of its own, the same token for both.
pub(crate) fn registers(mode: Mode) -> Outcome {
    let (pf_space, vf_space) = (DmaSpace::new(None), DmaSpace::new(None));
    let pf = Arc::new(open(&pf_space, &with_token("soft_pf", mode, TOKEN)?)?);
    let never = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_secs(20);
    let wait = Wait { deadline, cancelled: &never };
    let driver = PfDriver::start(pf, deadline).map_err(|error| chain(&error))?;
    driver.negotiate_commands(&wait).map_err(|error| chain(&error))?;
    check(pf_space.mapped() != 0 && vf_space.mapped() == 0, "the admin queue is not in the PF's space")?;

    let vf = open(&vf_space, &with_token("soft_vf", mode, TOKEN)?)?;
    let member = member(&vf)?;
    let notify = driver.notify_info(member, &vf, &wait).map_err(|error| chain(&error))?;
    let Some(&NotifyAddress::Member { bar, offset }) = notify.first() else {
        return Err(format!("no doorbell: {notify:?}"));
    };

    let driver = Arc::new(driver);
    let registers = AdminRegisters::new(Arc::clone(&driver) as Arc<dyn AdminChannel>, member, notify);
    let fail = |error: devices::contract::RegisterError| chain(&error);
    for status in [0, 1, 3] {
        registers.write(Area::Common, STATUS, Width::B1, status, &wait).map_err(fail)?;
        let seen = registers.read(Area::Common, STATUS, Width::B1, &wait).map_err(fail)?;
        check(seen == status, format!("status {status} reads {seen}"))?;
    }
    let mac = registers.read(Area::Device, 0, Width::B4, &wait).map_err(fail)?;
    check(mac == 0x4c00_5452, format!("MAC {mac:08x}"))?;
    // What a guest's kick becomes.
    drop(vf.link_ioeventfd(bar, offset, 0, &event()?).map_err(|error| chain(&error))?);
    vf.dma_map(&memory(0x4000_0000)?).map_err(|error| chain(&error))?;
    check(!vf.mappable(bar).map_err(|error| chain(&error))?.is_empty(), "the doorbell's BAR cannot be mapped")?;
    drop(registers);
    drop(driver);
    check(pf_space.mapped() == 0, "the admin queue stays mapped")
}

fn member(vf: &devices::function::vfio::VfioFunction) -> Outcome<NonZeroU16> {
    let sysfs = Sysfs::new().function(vf.bdf()).map_err(|error| chain(&error))?;
    let (pf, member) = sysfs.member_id().map_err(|error| chain(&error))?.ok_or("not a VF")?;
    check(pf == address("soft_pf")?, "the VF of another PF")?;
    Ok(member)
}
