// SPDX-License-Identifier: Apache-2.0
//! Memory that was mapped for a VF and taken back, through the kernel's VFIO and an IOMMU: the VF gets at it no more, and the
//! server says that it was asked to (`report`).

use devices::function::vfio::{DmaSpace, OpenOptions, VfioFunction};
use devices::function::{Dma, Interrupts};

use crate::disk::{Disk, SECTOR, SILENCE, event, memory, signalled};
use crate::linux::{bind, pf, set_vfs, vf};
use crate::{Outcome, check, text};

/// Where the driver's memory is for the VF.
pub(crate) const IOVA: u64 = 0x4000_0000;

pub(crate) fn memory_taken_back() -> Outcome {
    bind(&pf()?, "virtio-pci")?;
    set_vfs(2, false)?;
    let address = vf(1)?;
    bind(&address, "vfio-pci")?;
    let options = OpenOptions::new(address.parse().map_err(text)?);
    let function = VfioFunction::open(&DmaSpace::new(None), &options).map_err(text)?;
    let (memory, event) = (memory(IOVA)?, event()?);
    function.dma_map(&memory).map_err(text)?;
    function.set_msix(&[Some(&event)]).map_err(text)?;
    let mut disk = Disk::start(&function, &memory, 0)?;
    disk.read_sector(0, &event)?;
    disk.offer_read(1)?;
    function.dma_unmap(IOVA).map_err(text)?;
    disk.kick()?;
    // The device reports that it needs a reset, on a vector that it was not given.
    check(!signalled(&event, SILENCE), "an interrupt for a ring that is not mapped")?;
    check(disk.used()? == 1 && disk.data()? == [0xee; SECTOR], "memory that was taken back was written")?;
    function.dma_map(&memory).map_err(text)?;
    Disk::start(&function, &memory, 0)?.read_sector(1, &event)?;
    drop(function);
    set_vfs(0, false)
}
