// SPDX-License-Identifier: Apache-2.0
//! DMA to where the guest has no memory: requests' buffers, and then the ring. The device fails, and works again
//! after a reset.

use super::{Reason, expect};
use crate::mem::zeros;
use crate::println;
use crate::virtio::blk::{Disk, Operation};
use crate::virtio::ring::{NEXT, Ring, WRITE};
use crate::virtio::transport::{ACKNOWLEDGE, DRIVER, DRIVER_OK};
use crate::virtio::{Interrupts, Transport};

/// Far behind the guest's memory, and below its PCI hole.
const NOWHERE: usize = 0x5000_0000;
/// Status byte of a request that nobody has answered.
const UNANSWERED: u8 = 0xff;
const IO_ERROR: u8 = 1;

fn running(ring: &mut Ring, frame: Option<u32>) -> Result<Transport, Reason> {
    let transport = Transport::open(2, 0, Interrupts::Polled)?;
    transport.set_features(0);
    transport.set_up_queue(0, ring)?;
    if let Some(frame) = frame {
        transport.set_queue_frame(0, 0);
        transport.set_queue_frame(0, frame);
    }
    transport.set_status(ACKNOWLEDGE | DRIVER | DRIVER_OK);
    Ok(transport)
}

/// A request whose data is at `data`. Returns its status byte.
fn request(transport: &Transport, ring: &mut Ring, operation: Operation, data: *mut u8) -> u8 {
    let (mut header, status) = (zeros::<16>(), [UNANSWERED]);
    header[0] = operation as u8;
    let direction = if operation == Operation::Read { WRITE } else { 0 };
    ring.describe(0, header.as_ptr(), 16, NEXT, 1);
    ring.describe(1, data, 512, NEXT | direction, 2);
    ring.describe(2, status.as_ptr(), 1, WRITE, 0);
    ring.publish(0);
    transport.kick(0);
    // Whether it is answered is what is asked here.
    let _ = transport.wait_briefly(|| ring.is_used());
    // SAFETY: written by the device behind the compiler's back, so read as such.
    unsafe { core::ptr::read_volatile(status.as_ptr()) }
}

pub fn run() -> Result<(), Reason> {
    let mut data = zeros::<512>();
    let mut ring = Ring::new(0);
    let transport = running(&mut ring, None)?;
    let status = request(&transport, &mut ring, Operation::Write, NOWHERE as *mut u8);
    expect("status of a write from nowhere", status, IO_ERROR)?;
    println!("GUEST data beyond memory to write: status {status}");
    // What a device may write is part of its answer, so there can be none.
    let status = request(&transport, &mut ring, Operation::Read, NOWHERE as *mut u8);
    expect("status of a read to nowhere", status, UNANSWERED)?;
    println!("GUEST a buffer beyond memory to read into: no answer, device status {:#x}", transport.status());
    transport.reset();

    let mut ring = Ring::new(0);
    let transport = running(&mut ring, Some((NOWHERE >> 12) as u32))?;
    let status = request(&transport, &mut ring, Operation::Read, data.as_mut_ptr());
    expect("status of a read by a ring that is nowhere", status, UNANSWERED)?;
    println!("GUEST a ring beyond memory: no answer, device status {:#x}", transport.status());
    transport.reset();

    let mut disk = Disk::open(0, Interrupts::Polled)?;
    expect("status of a read after the reset", disk.request(Operation::Read, 0, &mut data)?, 0u8)?;
    disk.transport.reset();
    Ok(())
}

/// As a guest does that wants to keep the host busy with messages: each reset is followed by a fault.
pub fn fault_at_each_reset(count: u32) -> Result<(), Reason> {
    for _ in 0..count {
        let mut ring = Ring::new(0);
        let transport = running(&mut ring, None)?;
        let status = request(&transport, &mut ring, Operation::Write, NOWHERE as *mut u8);
        expect("status of a write from nowhere", status, IO_ERROR)?;
        transport.reset();
    }
    println!("GUEST had {} faults", count);
    Ok(())
}
