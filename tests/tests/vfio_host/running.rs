// SPDX-License-Identifier: Apache-2.0
//! Open functions at work: DMA, interrupts, kicks, resets.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devices::bus::Width;
use devices::contract::platform::KvmVfio;
use devices::function::vfio::{DmaSpace, Mode, VfioFunction};
use devices::function::{Bars, Configuration, Dma, FunctionError, Interrupts, IntxEvents, Lifetime};
use devices::spec::virtio::NO_VECTOR;
use vm_memory::{GuestAddress, GuestRegionMmap};
use vmm::kvm::{VfioFiles, Vm};

use crate::disk::{Disk, LEN, PATIENCE, SILENCE, chain, event, memory, signalled};
use crate::{Outcome, address, check, open, options};

const IOVA: u64 = 0x4000_0000;

fn opened(which: &str, mode: Mode) -> Outcome<VfioFunction> {
    open(&DmaSpace::new(None), &options(which, mode)?)
}

fn told<T>(result: devices::function::Result<T>) -> Outcome<T> {
    result.map_err(|error| chain(&error))
}

/// Reset, features, one queue, reads with MSI-X: all of a driver's path.
pub(crate) fn disk(mode: Mode) -> Outcome {
    let function = opened("disk", mode)?;
    check(function.mode() == mode, "opened the other way")?;
    let (memory, event) = (memory(IOVA)?, event()?);
    told(function.dma_map(&memory))?;
    told(function.set_msix(&[None, Some(&event)]))?;
    check(function.is_msix_enabled(), "MSI-X is not enabled")?;
    let mut disk = Disk::start(&function, &memory, 1)?;
    for sector in 0..20 {
        disk.read_sector(sector, &event)?;
    }
    disk.reset()
}

/// The same while KVM holds the file, twice: the first use must leave nothing in KVM.
pub(crate) fn with_kvm(mode: Mode) -> Outcome {
    let vm = Vm::new().map_err(|error| chain(&error))?;
    let kvm: Arc<dyn KvmVfio> = Arc::new(VfioFiles::new(&vm).map_err(|error| chain(&error))?);
    for _ in 0..2 {
        let function = open(&DmaSpace::new(Some(Arc::clone(&kvm))), &options("disk", mode)?)?;
        let (memory, event) = (memory(IOVA)?, event()?);
        told(function.dma_map(&memory))?;
        told(function.set_msix(&[Some(&event)]))?;
        Disk::start(&function, &memory, 0)?.read_sector(3, &event)?;
    }
    Ok(())
}

pub(crate) fn ioeventfd() -> Outcome {
    let function = opened("disk", Mode::Auto)?;
    let (memory, irq, kick) = (memory(IOVA)?, event()?, event()?);
    told(function.dma_map(&memory))?;
    told(function.set_msix(&[Some(&irq)]))?;
    let mut disk = Disk::start(&function, &memory, 0)?;
    let link = disk.link(&kick)?;
    check(link.count().is_none(), "the kernel does not count")?;
    for sector in 0..5 {
        disk.offer_read(sector)?;
        kick.write(1).map_err(crate::disk::text)?;
        disk.finish_read(sector, &irq)?;
    }
    drop(link);
    disk.offer_read(9)?;
    kick.write(1).map_err(crate::disk::text)?;
    check(!signalled(&irq, SILENCE), "a link that was dropped still kicks")?;
    // The eventfd kept the signal, and a new link takes it at once or with the next.
    drop(disk.link(&kick)?);
    disk.kick()?;
    disk.finish_read(9, &irq)
}

pub(crate) fn vectors() -> Outcome {
    let function = opened("disk", Mode::Auto)?;
    let (memory, one, other) = (memory(IOVA)?, event()?, event()?);
    told(function.dma_map(&memory))?;
    check(function.msix_vectors() >= 2, "the disk has too few vectors for this test")?;
    // None yet: MSI-X is on, and nothing is signalled.
    told(function.set_msix(&[None, None]))?;
    let mut disk = Disk::start(&function, &memory, 1)?;
    disk.offer_read(0)?;
    disk.kick()?;
    check(!signalled(&one, SILENCE) && disk.used()? == 1, "a silent vector is not silent")?;
    told(function.set_msix(&[Some(&other), Some(&one)]))?;
    disk.read_sector(1, &one)?;
    // The silent interrupt was pending in the device, and may have come after the other.
    signalled(&one, SILENCE);
    told(function.set_msix(&[None, Some(&other)]))?;
    disk.read_sector(2, &other)?;
    check(!signalled(&one, Duration::ZERO), "an eventfd that was replaced is signalled")?;
    // Fewer than before: what is left out goes silent.
    told(function.set_msix(&[Some(&one)]))?;
    disk.offer_read(3)?;
    disk.kick()?;
    check(!signalled(&other, SILENCE) && disk.used()? == 4, "a vector that was left out is not silent")?;
    let most = vec![None; usize::from(function.msix_vectors()) + 1];
    check(function.set_msix(&most).is_err(), "more vectors than there are")?;
    told(function.set_msix(&[None, Some(&one)]))?;
    disk.read_sector(4, &one)?;
    told(function.disable_msix())?;
    check(!function.is_msix_enabled(), "MSI-X is still enabled")?;
    told(function.set_msix(&[Some(&other), Some(&one)]))?;
    disk.read_sector(5, &one)
}

pub(crate) fn intx() -> Outcome {
    let function = opened("disk", Mode::Auto)?;
    check(function.has_intx(), "the disk has no INTx")?;
    let (memory, trigger, unmask) = (memory(IOVA)?, event()?, event()?);
    told(function.dma_map(&memory))?;
    // MSI-X first: changing the kind is part of the test.
    told(function.set_msix(&[Some(&trigger)]))?;
    told(function.set_intx(Some(IntxEvents { trigger: &trigger, unmask: &unmask })))?;
    check(!function.is_msix_enabled(), "two kinds are enabled")?;
    let mut disk = Disk::start(&function, &memory, NO_VECTOR)?;
    let (isr_bar, isr_offset) = crate::disk::isr(&function)?;
    let read_isr = || told(function.region_read(isr_bar, isr_offset, Width::B1));
    disk.read_sector(0, &trigger)?;
    // The pin is still asserted: unmasking brings it again, and nothing before that.
    check(!signalled(&trigger, SILENCE), "a masked pin signals")?;
    unmask.write(1).map_err(crate::disk::text)?;
    check(signalled(&trigger, PATIENCE), "an asserted pin is silent after unmasking")?;
    check(read_isr()? == 1, "the ISR has no queue interrupt")?;
    unmask.write(1).map_err(crate::disk::text)?;
    check(!signalled(&trigger, SILENCE), "a pin that is not asserted signals")?;
    disk.read_sector(1, &trigger)?;
    read_isr()?;
    told(function.set_intx(None))?;
    disk.offer_read(2)?;
    disk.kick()?;
    check(!signalled(&trigger, SILENCE) && disk.used()? == 3, "disabled INTx signals")
}

pub(crate) fn kinds_that_are_missing() -> Outcome {
    // A VF has no pin (PCI Express, "SR-IOV"), and QEMU's virtio functions have no MSI.
    let token = |which| crate::with_token(which, Mode::Auto, crate::opening::TOKEN);
    let _pf = open(&DmaSpace::new(None), &token("pf")?)?;
    let vf = open(&DmaSpace::new(None), &token("vf0")?)?;
    let event = event()?;
    check(!vf.has_intx() && vf.msi_vectors() == 0, "a VF with INTx or MSI")?;
    let events = IntxEvents { trigger: &event, unmask: &event };
    check(matches!(vf.set_intx(Some(events)), Err(FunctionError::Unsupported { .. })), "INTx was enabled")?;
    check(vf.set_msi(&[Some(&event)]).is_err(), "MSI was enabled")?;
    told(vf.set_msi(&[]))?;
    told(vf.set_intx(None))?;
    // What the kernel makes up for VFs: ids, which are all ones in the VF, and memory decoding.
    check(told(vf.config_read(0, Width::B4))? == 0x1041_1af4, "the VF's ids")?;
    check(vf.region(0).is_none(), "the VF has a BAR 0")?;
    check(vf.mappable(4).is_ok_and(|areas| !areas.is_empty()), "BAR 4 of the VF cannot be mapped")
}

pub(crate) fn reset() -> Outcome {
    let function = opened("disk", Mode::Auto)?;
    let (memory, event) = (memory(IOVA)?, event()?);
    told(function.dma_map(&memory))?;
    told(function.set_msix(&[Some(&event)]))?;
    let mut disk = Disk::start(&function, &memory, 0)?;
    disk.read_sector(0, &event)?;
    disk.offer_read(1)?;
    told(function.reset())?;
    check(!function.is_msix_enabled(), "MSI-X survives a reset")?;
    // Decoding on (b8: BARs may be mapped), bus mastering off: the kick arrives at a device that knows no ring.
    check(told(function.config_read(4, Width::B2))? & 7 == 2, "COMMAND after a reset is not memory decoding alone")?;
    check(disk.status()? == 0, "the device's status survives a reset")?;
    disk.kick()?;
    std::thread::sleep(SILENCE); // Clock: for what must not happen.
    check(disk.used()? == 1 && disk.data()? == [0xee; 512], "DMA after a reset")?;
    // DMA mappings do survive.
    told(function.set_msix(&[Some(&event)]))?;
    Disk::start(&function, &memory, 0)?.read_sector(2, &event)
}

pub(crate) fn unmapped(mode: Mode) -> Outcome {
    let function = opened("disk", mode)?;
    let (memory, event) = (memory(IOVA)?, event()?);
    told(function.dma_map(&memory))?;
    told(function.set_msix(&[Some(&event)]))?;
    let mut disk = Disk::start(&function, &memory, 0)?;
    disk.read_sector(0, &event)?;
    disk.offer_read(1)?;
    told(function.dma_unmap(IOVA))?;
    check(function.dma_unmap(IOVA).is_err(), "unmapped twice")?;
    disk.kick()?;
    check(!signalled(&event, SILENCE), "an interrupt for a ring that is not mapped")?;
    check(disk.used()? == 1 && disk.data()? == [0xee; 512], "memory that is not mapped was written")?;
    // Mapped again, after its reset, the device works as before.
    told(function.dma_map(&memory))?;
    Disk::start(&function, &memory, 0)?.read_sector(1, &event)
}

pub(crate) fn shared(mode: Mode) -> Outcome {
    let space = DmaSpace::new(None);
    let (disk_function, net) = (open(&space, &options("disk", mode)?)?, open(&space, &options("net", mode)?)?);
    let (memory, event) = (memory(IOVA)?, event()?);
    // Mapped by the card alone: the disk finds it, being in the same space.
    told(net.dma_map(&memory))?;
    told(disk_function.set_msix(&[Some(&event)]))?;
    Disk::start(&disk_function, &memory, 0)?.read_sector(0, &event)?;
    told(disk_function.dma_map(&memory))?;
    told(disk_function.dma_map(&memory))?;
    check(space.mapped() == LEN as u64, format!("{} bytes are mapped", space.mapped()))?;
    let other = crate::disk::memory(IOVA + 0x1000)?;
    check(net.dma_map(&other).is_err_and(|e| chain(&e).contains("mapped to other memory")), "an overlap")?;
    drop(net);
    check(space.mapped() == LEN as u64, "the last user has not gone yet")?;
    Disk::start(&disk_function, &memory, 0)?.read_sector(1, &event)?;
    told(disk_function.dma_unmap(IOVA))?;
    check(space.mapped() == 0, "something stays mapped")?;
    // Space, then function: nothing depends on the order.
    told(disk_function.dma_map(&memory))?;
    drop(space);
    drop(disk_function);
    let again = opened("disk", mode)?;
    drop(again);
    opened("net", mode).map(drop)
}

pub(crate) fn impossible_mappings(mode: Mode) -> Outcome {
    let space = DmaSpace::new(None);
    let function = open(&space, &options("disk", mode)?)?;
    let region = |start, len| GuestRegionMmap::from_range(GuestAddress(start), len, None).map(Arc::new);
    let refused = |start: u64, len: usize, expected: &str| -> Outcome {
        let region = region(start, len).map_err(crate::disk::text)?;
        match function.dma_map(&region) {
            Ok(()) => Err(format!("{len:#x} bytes at {start:#x} were mapped")),
            Err(error) => check(chain(&error).contains(expected), format!("{start:#x}: {}", chain(&error))),
        }
    };
    // The window of message-signalled interrupts.
    refused(0xfee0_0000, 0x1000, "0xfee00000 to 0xfee00fff cannot be mapped by this host's IOMMU, whose ranges are")?;
    // Its front part can be mapped, and must not stay so: 256 MiB are one call to the kernel.
    refused(0xe000_0000, 0x2000_0000, "cannot be mapped by this host's IOMMU")?;
    refused(1 << 57, 0x1000, "cannot be mapped by this host's IOMMU")?;
    check(space.mapped() == 0, "something stays mapped")?;
    let front = region(0xe000_0000, 0x1000).map_err(crate::disk::text)?;
    told(function.dma_map(&front))?;
    check(function.dma_unmap(0xe000_1000).is_err_and(|e| chain(&e).contains("no mapping of this function")), "unmapped")
}

pub(crate) fn progress() -> Outcome {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::new(AtomicUsize::new(0));
    let space = {
        let (shown, calls) = (Arc::clone(&shown), Arc::clone(&calls));
        DmaSpace::with_progress(None, move |progress| {
            calls.fetch_add(1, Ordering::Relaxed);
            shown.lock().map(|mut list| list.push(*progress)).ok();
        })
    };
    let function = open(&space, &options("disk", Mode::Auto)?)?;
    // Small pages, each a message to the emulated IOMMU: some seconds.
    let ram = GuestRegionMmap::<()>::from_range(GuestAddress(1 << 32), 768 << 20, None).map_err(crate::disk::text)?;
    let begun = std::time::Instant::now();
    told(function.dma_map(&Arc::new(ram)))?;
    let took = begun.elapsed(); // Clock: messages go by it.
    println!("768 MiB mapped in {took:?}, {} messages", calls.load(Ordering::Relaxed));
    let shown = shown.lock().map_err(crate::disk::text)?;
    let slow = took > Duration::from_secs(3);
    check(!slow || !shown.is_empty(), format!("no progress was shown in {took:?}"))?;
    check(shown.len() as u64 <= took.as_secs() + 1, "more messages than seconds")?;
    check(shown.iter().all(|p| p.elapsed >= Duration::from_secs(1) && p.done <= p.total), "progress makes no sense")?;
    check(shown.windows(2).all(|pair| pair[0].done < pair[1].done), "progress goes back")
}

pub(crate) fn regions() -> Outcome {
    let function = opened("disk", Mode::Auto)?;
    check(told(function.config_read(0, Width::B4))? == 0x1042_1af4, "ids")?;
    check(told(function.config_read(0x100, Width::B4)).is_ok(), "extended configuration space")?;
    let outside = function.config_read(0xffe, Width::B4);
    check(matches!(outside, Err(FunctionError::OutOfRange { .. })), "beyond configuration space")?;
    for bar in 0..6 {
        let region = function.region(bar);
        println!(
            "BAR {bar}: {region:?}, mappable {:?}",
            told(function.mappable(bar))?.iter().map(|a| a.size).sum::<u64>()
        );
        let size = region.map_or(0, |region| region.size);
        let beyond = function.region_read(bar, size, Width::B1);
        check(matches!(beyond, Err(FunctionError::OutOfRange { .. })), "beyond a BAR")?;
        let wrapped = function.region_write(bar, u64::MAX, Width::B4, 0);
        check(matches!(wrapped, Err(FunctionError::OutOfRange { .. })), "an offset that wraps")?;
    }
    // As QEMU lays them out: MSI-X alone in BAR 1, the virtio structures in BAR 4.
    let (msix, virtio) = (function.region(1), function.region(4));
    check(msix.is_some_and(|r| r.size == 0x1000 && !r.is_io && !r.is_64bit), format!("{msix:?}"))?;
    check(virtio.is_some_and(|r| r.size == 0x4000 && r.is_64bit && r.prefetchable), format!("{virtio:?}"))?;
    check(told(function.mappable(1))?.is_empty(), "the MSI-X table can be mapped")?;
    let areas = told(function.mappable(4))?;
    check(areas.iter().map(|area| (area.offset, area.size)).eq([(0, 0x4000)]), format!("{areas:?}"))?;
    // Decoding is off, and the error is one.
    told(function.config_write(4, Width::B2, 0))?;
    let off = function.region_read(4, 0, Width::B4);
    check(matches!(off, Err(FunctionError::Io { .. })), format!("a BAR that is not decoded: {off:?}"))
}

/// Unbinding waits for the user, who is told.
pub(crate) fn removal() -> Outcome {
    let function = opened("net", Mode::Auto)?;
    let removal = function.removal_event().ok_or("no removal event")?;
    check(!signalled(removal, Duration::ZERO), "a removal that nobody asked for")?;
    let bdf = address("net")?.to_string();
    let path = |file: &str| format!("/sys/bus/pci/drivers/vfio-pci/{file}");
    let unbind = {
        let (path, bdf) = (path("unbind"), bdf.clone());
        std::thread::spawn(move || std::fs::write(path, bdf))
    };
    let told = signalled(removal, PATIENCE);
    check(!unbind.is_finished(), "unbound under its user")?;
    drop(function);
    unbind.join().map_err(|_| "the unbinding thread panicked")?.map_err(crate::disk::text)?;
    std::fs::write(path("bind"), &bdf).map_err(crate::disk::text)?;
    check(told, "the user was not told")?;
    opened("net", Mode::Auto).map(drop)
}
