// SPDX-License-Identifier: Apache-2.0
//! Windows (reference section 4.6): no read-back after a reset, interrupts by MSI-X or by the line,
//! and the debug build's dump of the registers, which reads 32 bits everywhere.

use super::{Guest, Irq, replay};

const NET_START: &str = "
    bm
    W8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f
    R8[C]=0x52 R8[C+1]=0x54 R8[C+2]=0 R8[C+3]=0x12 R8[C+4]=0x34 R8[C+5]=0x56
    W32[4]=f&0x10020                       # MAC, STATUS
";

const QUEUES: &str = "
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110
";

const VECTORS: &str = "
    W16[14]=0 W16[22]=0 R16[22]=0
    W16[14]=1 W16[22]=1 R16[22]=1
    W16[20]=2 R16[20]=2
";

const RUN: &str = "
    R8[C+6]=1 R8[C+7]=0
    R8[18]=3 W8[18]=7
    rx W16[16]=0
";

/// Of a running device with queue 1 selected: notify reads as ones, status and ISR without their
/// neighbours.
const DUMP: &str = "
    R32[0] R32[4]=0x10020 R32[8]=0x110 R32[12]=256 R32[14]=1 R32[16]=0xffffffff R32[18]=7 R32[19]=0
";

const UNLOAD: &str = "
    W8[18]=0
    W16[14]=0 W32[8]=0 R8[19]=0
    W16[14]=1 W32[8]=0 R8[19]=0
";

const UNLOAD_MSIX: &str = "
    W8[18]=0
    W16[14]=0 W16[22]=0xffff W32[8]=0 R8[19]=0
    W16[14]=1 W16[22]=0xffff W32[8]=0 R8[19]=0
    W16[20]=0xffff
    -msix
";

#[test]
fn windows_xp_with_intx_and_the_register_dump() {
    replay(Guest::net, |guest| {
        guest.run(NET_START);
        guest.run(QUEUES);
        guest.run(RUN);
        guest.run("W16[14]=1");
        guest.run(DUMP);
        guest.ask_the_network(1, Irq::Intx);
        guest.run(DUMP);
        guest.ask_again(2, Irq::Intx);
        guest.run(UNLOAD);
    });
}

#[test]
fn the_dump_takes_a_pending_interrupt_as_one_byte_does() {
    let mut guest = Guest::net(true);
    guest.run(NET_START);
    guest.run(QUEUES);
    guest.run(RUN);
    guest.ask_the_network(1, Irq::Intx);
    guest.run("-msix");
    guest.stack.set_msix(true);
    guest.stack.set_msix(false);
    assert!(guest.stack.line.is_high(), "the interrupt that a switch raises in case one was lost");
    guest.run("R32[18]=7");
    assert!(guest.stack.line.is_high(), "D09: the status read left the ISR alone");
    guest.run("R32[19]=1 R32[19]=0");
    assert!(!guest.stack.line.is_high());
}

/// One cycle of enabling and disabling, for traces of it.
pub(in crate::transitional) fn probe_with_msix(guest: &mut Guest) {
    for part in ["msix", NET_START, QUEUES, VECTORS, RUN, UNLOAD_MSIX] {
        guest.run(part);
    }
}

#[test]
fn windows_with_msix_and_a_hundred_enable_cycles() {
    replay(Guest::net, |guest| {
        for cycle in 0..100 {
            guest.run("msix");
            guest.run(NET_START);
            guest.run(QUEUES);
            guest.run(VECTORS);
            guest.run(RUN);
            if cycle % 10 == 0 {
                guest.run(DUMP);
                guest.ask_the_network(1, Irq::Msix(0));
            }
            guest.run(UNLOAD_MSIX);
        }
    });
}

/// viostor's start: geometry and features, the queue looked at before it is set up.
const DISK_START: &str = "
    bm
    W8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f
    R8[C+20]=0 R8[C+21]=2 R8[C+22]=0 R8[C+23]=0    # block size
    R8[C+12]=126 R8[C+13]=0 R8[C+14]=0 R8[C+15]=0  # segments
    R8[C+16] R8[C+17] R8[C+18] R8[C+19]            # cylinders, heads, sectors
    R8[C]=64 R8[C+1]=0 R8[C+2]=0 R8[C+3]=0 R8[C+4]=0 R8[C+5]=0 R8[C+6]=0 R8[C+7]=0
    W32[4]=f&0x254                                 # SEG_MAX, GEOMETRY, BLK_SIZE, FLUSH
    W16[14]=0 R16[12]=128 R32[8]=0
    W16[14]=0 R16[12]=128 R32[8]=0
";

const DISK_QUEUE: &str = "W16[14]=0 R16[12]=128 R32[8]=0 W32[8]=0x100";
const DISK_RUN: &str = "R8[18]=3 W8[18]=7";

/// Of a running disk. The ISR read at 19 takes what is pending, which is nothing.
const DISK_DUMP: &str = "
    R32[0] R32[4]=0x254 R32[8]=0x100 R32[12]=128 R32[14]=0 R32[16]=0xffffffff R32[18]=7 R32[19]=0
";

impl Guest {
    fn windows_disk_work(&mut self, irq: Irq) {
        assert_eq!(self.disk_id(irq), "disk");
        self.read_sector(5, 5, irq);
        self.run(DISK_DUMP);
        for sector in 8..24 {
            self.write_and_read_sector(sector, irq);
        }
        self.flush(irq);
        self.run(DISK_DUMP);
    }
}

#[test]
fn windows_viostor_with_intx_and_the_register_dump() {
    replay(Guest::disk, |guest| {
        guest.run(DISK_START);
        guest.run(DISK_QUEUE);
        guest.run(DISK_RUN);
        guest.windows_disk_work(Irq::Intx);
        guest.run("W8[18]=0 W16[14]=0 W32[8]=0 R8[19]=0");
    });
}

/// The system switches MSI-X on before the driver starts, so configuration is at 24 from the start.
#[test]
fn windows_viostor_with_msix_and_reset_cycles() {
    replay(Guest::disk, |guest| {
        guest.run("msix");
        for cycle in 0..20 {
            guest.run(DISK_START);
            guest.run(DISK_QUEUE);
            guest.run("W16[22]=1 R16[22]=1 W16[20]=0 R16[20]=0");
            guest.run(DISK_RUN);
            guest.run(DISK_DUMP);
            if cycle % 10 == 0 {
                guest.windows_disk_work(Irq::Msix(1));
            } else {
                guest.read_sector(cycle + 30, cycle + 30, Irq::Msix(1));
            }
            guest.run("W8[18]=0 W16[14]=0 W16[22]=0xffff W32[8]=0 R8[19]=0 W16[20]=0xffff");
        }
        guest.run("-msix");
    });
}
