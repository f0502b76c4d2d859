// SPDX-License-Identifier: Apache-2.0
//! What drivers do once they run: frames through a network card, sectors through a disk.

use std::io::{Read, Seek, SeekFrom};

use vm_memory::{Bytes, GuestAddress};

use super::{Guest, Irq, MAC, SECTOR};
use crate::contract::mock::{eventually, wait_until};
use crate::transitional::tests::bench::DEVICE_WRITES;

const RX: usize = 0;
const TX: usize = 1;
const NO_INTERRUPT: u16 = 1;
const MRG_RXBUF: u32 = 1 << 15;
const FRAME: u32 = 1514;

/// Buffers, apart from the rings.
const RX_HEADER: u64 = 0x20_0000;
const RX_FRAME: u64 = 0x20_1000;
const TX_HEADER: u64 = 0x20_2000;
const TX_FRAME: u64 = 0x20_3000;
const BLK_HEADER: u64 = 0x20_4000;
const BLK_DATA: u64 = 0x20_5000;
const BLK_STATUS: u64 = 0x20_6000;

impl Guest {
    /// Bytes of the header in front of each frame, by the features that the driver accepted.
    fn header_len(&self) -> u32 {
        if self.accepted & MRG_RXBUF != 0 { 12 } else { 10 }
    }

    /// Header and frame in descriptors of their own, which is what old drivers do and old devices
    /// insist on.
    pub(in crate::transitional) fn post_receive_buffer(&mut self) {
        // Features may still be unwritten: iPXE posts first. Without them the header is the short one.
        let header = self.header_len();
        let ring = self.rings[RX].as_mut().unwrap();
        ring.offer(&self.stack.memory, &[(RX_HEADER, header, DEVICE_WRITES), (RX_FRAME, FRAME, DEVICE_WRITES)]);
    }

    /// Asks the network who has 10.0.0.`host`, and checks the answer. A receive buffer is in the ring
    /// already; its kick was made.
    pub(in crate::transitional) fn ask_the_network(&mut self, host: u8, irq: Irq) {
        self.send_question(MAC, host);
        self.take_answer(MAC, host, irq);
    }

    /// Sends a question from `station`, which gets the answer if anybody.
    pub(in crate::transitional) fn send_question(&mut self, station: [u8; 6], host: u8) {
        let memory = &self.stack.memory;
        let mut frame = vec![0xff; 6];
        frame.extend(station);
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(station);
        frame.extend([10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 10, 0, 0, host]);
        frame.resize(60, 0);
        memory.write_slice(&[0; 12], GuestAddress(TX_HEADER)).unwrap();
        memory.write_slice(&frame, GuestAddress(TX_FRAME)).unwrap();
        let header = self.header_len();
        // Drivers of that time clean up what was sent when they send again.
        self.without_interrupts(TX);
        let tx = self.rings[TX].as_mut().unwrap();
        tx.offer(&self.stack.memory, &[(TX_HEADER, header, 0), (TX_FRAME, frame.len() as u32, 0)]);
        self.run("W16[16]=1");
        self.wait_for_used(TX);
    }

    /// The next frame that is received must be `host`'s answer to `station`.
    pub(in crate::transitional) fn take_answer(&mut self, station: [u8; 6], host: u8, irq: Irq) {
        self.wait_for(RX, irq);
        let mut reply = [0; 42];
        self.stack.memory.read_slice(&mut reply, GuestAddress(RX_FRAME)).unwrap();
        assert_eq!(reply[..6], station, "to whom it was asked for");
        assert_eq!(reply[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 2], "an ARP reply");
        assert_eq!(reply[28..32], [10, 0, 0, host], "from the host that was asked for");
    }

    /// `VRING_AVAIL_F_NO_INTERRUPT` in the ring.
    pub(in crate::transitional) fn without_interrupts(&self, queue: usize) {
        let ring = self.rings[queue].as_ref().unwrap();
        let flags = ring.base + 16 * u64::from(ring.size);
        self.stack.memory.write_obj(NO_INTERRUPT, GuestAddress(flags)).unwrap();
    }

    /// A further frame: a fresh buffer, its kick, and the question.
    pub(in crate::transitional) fn ask_again(&mut self, host: u8, irq: Irq) {
        self.stack.memory.write_slice(&[0; 64], GuestAddress(RX_FRAME)).unwrap();
        self.run("rx W16[16]=0");
        self.ask_the_network(host, irq);
    }

    /// Writes a sector, looks for it in the file, and reads it back.
    pub(in crate::transitional) fn write_and_read_sector(&mut self, sector: u8, irq: Irq) {
        let fill = sector ^ 0xa5;
        self.stack.memory.write_slice(&[fill; SECTOR], GuestAddress(BLK_DATA)).unwrap();
        self.request(1, sector, irq);
        let mut stored = [0; SECTOR];
        let file = self.file.as_mut().unwrap();
        file.seek(SeekFrom::Start(u64::from(sector) * SECTOR as u64)).unwrap();
        file.read_exact(&mut stored).unwrap();
        assert_eq!(stored, [fill; SECTOR]);
        self.read_sector(sector, fill, irq);
    }

    /// Reads a sector, which must be full of `fill`.
    pub(in crate::transitional) fn read_sector(&mut self, sector: u8, fill: u8, irq: Irq) {
        self.stack.memory.write_slice(&[0; SECTOR], GuestAddress(BLK_DATA)).unwrap();
        self.request(0, sector, irq);
        let mut data = [0; SECTOR];
        self.stack.memory.read_slice(&mut data, GuestAddress(BLK_DATA)).unwrap();
        assert_eq!(data, [fill; SECTOR]);
    }

    fn request(&mut self, kind: u32, sector: u8, irq: Irq) {
        let flags = if kind == 0 { DEVICE_WRITES } else { 0 };
        self.request_with(kind, sector, &[(BLK_DATA, SECTOR as u32, flags)], irq);
    }

    /// The disk's name by `VIRTIO_BLK_T_GET_ID`, as Windows asks for its serial number.
    pub(in crate::transitional) fn disk_id(&mut self, irq: Irq) -> String {
        self.stack.memory.write_slice(&[0xff; 20], GuestAddress(BLK_DATA)).unwrap();
        self.request_with(8, 0, &[(BLK_DATA, 20, DEVICE_WRITES)], irq);
        let mut id = [0; 20];
        self.stack.memory.read_slice(&mut id, GuestAddress(BLK_DATA)).unwrap();
        String::from_utf8(id.into_iter().take_while(|byte| *byte != 0).collect()).unwrap()
    }

    /// `VIRTIO_BLK_T_FLUSH`.
    pub(in crate::transitional) fn flush(&mut self, irq: Irq) {
        self.request_with(4, 0, &[], irq);
    }

    fn request_with(&mut self, kind: u32, sector: u8, data: &[(u64, u32, u16)], irq: Irq) {
        let memory = &self.stack.memory;
        memory.write_obj(kind, GuestAddress(BLK_HEADER)).unwrap();
        memory.write_obj(0_u32, GuestAddress(BLK_HEADER + 4)).unwrap();
        memory.write_obj(u64::from(sector), GuestAddress(BLK_HEADER + 8)).unwrap();
        memory.write_obj(0xff_u8, GuestAddress(BLK_STATUS)).unwrap();
        let chain = [&[(BLK_HEADER, 16, 0)], data, &[(BLK_STATUS, 1, DEVICE_WRITES)]].concat();
        self.rings[0].as_mut().unwrap().offer(memory, &chain);
        self.run("W16[16]=0");
        self.wait_for(0, irq);
        assert_eq!(self.stack.memory.read_obj::<u8>(GuestAddress(BLK_STATUS)).unwrap(), 0);
    }

    fn wait_for(&mut self, queue: usize, irq: Irq) {
        match irq {
            Irq::Intx | Irq::IntxOneVector => {
                let expected = if matches!(irq, Irq::Intx) { 1 } else { 3 };
                assert_eq!(self.stack.wait_for_interrupt(), expected);
                assert!(!self.stack.line.is_high());
                assert_eq!(self.stack.read(19, crate::bus::Width::B1), 0, "one read takes it");
            }
            Irq::Msix(vector) => {
                eventually("an interrupt", || self.stack.msi.interrupt(vector).take_signals());
            }
            Irq::Poll => {
                wait_until("the queue moves", || {
                    self.stack.events.run_with_timeout(0).unwrap();
                    self.stack.read(19, crate::bus::Width::B1);
                    !self.outstanding(queue)
                });
            }
        }
        self.wait_for_used(queue);
    }

    pub(in crate::transitional) fn wait_for_used(&self, queue: usize) {
        wait_until("the queue moves", || !self.outstanding(queue));
    }

    fn outstanding(&self, queue: usize) -> bool {
        let ring = self.rings[queue].as_ref().unwrap();
        ring.used_index(&self.stack.memory) != ring.next
    }
}
