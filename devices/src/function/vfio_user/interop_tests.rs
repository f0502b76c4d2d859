// SPDX-License-Identifier: Apache-2.0
//! Our client against the `vfio_user` crate's server, and its client against our server: the same
//! protocol, written by others.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};

use vfio_bindings::bindings::vfio::{vfio_region_info, vfio_region_sparse_mmap_area};
use vfio_user::{
    Client, DmaMapFlags, DmaUnmapFlags, IrqInfo, Server as TheirServer, ServerBackend, ServerRegion, SparseArea,
};
use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};
use vmm_sys_util::eventfd::EventFd;

use super::testing::{PATIENCE, VECTORS, event, eventually, mock_function, sealed};
use super::{Server, VfioUserFunction};
use crate::bus::Width;
use crate::function::shared::shared_region;
use crate::function::{Bars, Configuration, Dma, Interrupts, Lifetime};

/// What their server was told.
#[derive(Default)]
struct Told {
    bar: Vec<u8>,
    config: Vec<u8>,
    maps: Vec<(u64, u64, u64, bool)>,
    unmaps: Vec<(u64, u64)>,
    resets: usize,
    irqs: Vec<(u32, u32, u32, u32, Vec<File>)>,
}

struct Backend(Arc<Mutex<Told>>);

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let told = self.0.lock().unwrap();
        let from = if region == 7 { &told.config } else { &told.bar };
        data.copy_from_slice(&from[offset as usize..offset as usize + data.len()]);
        Ok(())
    }
    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut told = self.0.lock().unwrap();
        let to = if region == 7 { &mut told.config } else { &mut told.bar };
        to[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        Ok(())
    }
    fn dma_map(&mut self, _: DmaMapFlags, offset: u64, at: u64, size: u64, fd: Option<File>) -> io::Result<()> {
        self.0.lock().unwrap().maps.push((offset, at, size, fd.is_some()));
        Ok(())
    }
    fn dma_unmap(&mut self, _: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.0.lock().unwrap().unmaps.push((address, size));
        Ok(())
    }
    fn reset(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().resets += 1;
        Ok(())
    }
    fn set_irqs(&mut self, index: u32, flags: u32, start: u32, count: u32, fds: Vec<File>) -> io::Result<()> {
        self.0.lock().unwrap().irqs.push((index, flags, start, count, fds));
        Ok(())
    }
}

#[test]
fn our_client_with_their_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let file = sealed(0x4000);
    let region = |index, size| ServerRegion {
        region_info: vfio_region_info { argsz: 32, flags: 3, index, cap_offset: 0, size, offset: 0 },
        sparse_areas: Vec::new(),
        mmap_fd: None,
    };
    let mut regions: Vec<_> = (0..9).map(|index| region(index, 0)).collect();
    regions[7] = region(7, 4096);
    regions[2] = region(2, 0x4000);
    regions[2].region_info.flags = 3 | 4 | 8;
    regions[2].sparse_areas = vec![SparseArea { area: vfio_region_sparse_mmap_area { offset: 0x1000, size: 0x1000 } }];
    regions[2].mmap_fd = Some(file.as_raw_fd());
    let irqs = (0..5).map(|index| IrqInfo { index, flags: 1, count: if index == 2 { 3 } else { 0 } }).collect();
    let server = TheirServer::new(&path, true, irqs, regions).unwrap();
    let told = Arc::new(Mutex::new(Told { bar: vec![0; 0x4000], config: vec![0; 4096], ..Told::default() }));
    let mut backend = Backend(told.clone());
    std::thread::spawn(move || server.run(&mut backend));

    let function = VfioUserFunction::connect(&path, PATIENCE).unwrap();
    function.region_write(2, 0x20, Width::B4, 0x1234_5678).unwrap();
    assert_eq!(function.region_read(2, 0x22, Width::B2).unwrap(), 0x1234);
    function.config_write(4, Width::B2, 6).unwrap();
    assert_eq!(function.config_read(4, Width::B2).unwrap(), 6);
    assert_eq!((function.msix_vectors(), function.has_intx()), (3, false));
    let areas = function.mappable(2).unwrap();
    assert_eq!((areas.len(), areas[0].offset, areas[0].size), (1, 0x1000, 0x1000));
    let events = [event(), event()];
    function.set_msix(&[Some(&events[0]), None, Some(&events[1])]).unwrap();
    let irqs = std::mem::take(&mut told.lock().unwrap().irqs);
    let what: Vec<_> =
        irqs.iter().map(|(index, flags, start, count, fds)| (*index, *flags, *start, *count, fds.len())).collect();
    assert_eq!(what, [(2, 0x24, 0, 1, 1), (2, 0x24, 1, 1, 0), (2, 0x24, 2, 1, 1)], "one descriptor each, as it says");
    io::Write::write_all(&mut &irqs[2].4[0], &1u64.to_le_bytes()).unwrap();
    assert_eq!(events[1].read().unwrap(), 1);
    let memory = shared_region(0x4000_0000, 0x2000).unwrap();
    function.dma_map(&memory).unwrap();
    assert!(function.dma_map(&memory).is_err());
    function.dma_unmap(0x4000_0000).unwrap();
    function.reset().unwrap();
    let told = told.lock().unwrap();
    assert_eq!(
        (&told.maps[..], &told.unmaps[..]),
        (&[(0, 0x4000_0000, 0x2000, true)][..], &[(0x4000_0000, 0x2000)][..])
    );
    assert_eq!(told.resets, 1);
}

#[test]
fn their_client_with_our_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let fake = mock_function();
    let shared = Arc::new(tempfile::tempfile().unwrap());
    shared.set_len(0x4000).unwrap();
    let area = crate::function::MappableArea { offset: 0x1000, size: 0x1000, file: shared, file_offset: 0x1000 };
    fake.state().mappable[2] = vec![area];
    let _server = Server::spawn(fake.clone(), Server::bind(&path).unwrap()).unwrap();
    let mut client = Client::new(&path).unwrap();
    let bar = client.region(2).unwrap();
    assert_eq!((bar.size, bar.flags, bar.sparse_areas.len()), (0x4000, 15, 1));
    assert_eq!((bar.sparse_areas[0].offset, bar.sparse_areas[0].size), (0x1000, 0x1000));
    assert_eq!(client.region(7).unwrap().size, 4096);
    client.region_write(2, 0x40, &[1, 2, 3, 4]).unwrap();
    let mut data = [0; 2];
    client.region_read(2, 0x42, &mut data).unwrap();
    assert_eq!(data, [3, 4]);
    assert_eq!(client.get_irq_info(2).unwrap().count, u32::from(VECTORS));
    let events: Vec<EventFd> = (0..16).map(|_| event()).collect();
    let fds: Vec<_> = events.iter().map(AsRawFd::as_raw_fd).collect();
    client.set_irqs(2, 0x24, 4, 16, &fds).unwrap();
    fake.interrupt(19);
    assert_eq!(events[15].read().unwrap(), 1);
    let memory = shared_region(0, 0x3000).unwrap();
    client.dma_map(0x1000, 0x8000_0000, 0x1000, memory.file_offset().unwrap().file().as_raw_fd()).unwrap();
    fake.state().dma[0].write_slice(b"dma", MemoryRegionAddress(0)).unwrap();
    let mut seen = [0; 3];
    memory.read_slice(&mut seen, MemoryRegionAddress(0x1000)).unwrap();
    assert_eq!(&seen, b"dma");
    client.dma_unmap(0x8000_0000, 0x1000).unwrap();
    client.dma_unmap(0, 1 << 40).unwrap();
    assert!(fake.mapped().is_empty());
    client.reset().unwrap();
    assert_eq!(fake.state().resets, 1);
    drop(client);
    eventually("the reset after the client", || fake.state().resets == 2);
}
