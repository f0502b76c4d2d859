// SPDX-License-Identifier: Apache-2.0
//! SeaBIOS (reference section 4.4), and iPXE before 2026 (section 4.5).

use super::{Guest, Irq, linux, replay};
use crate::bus::Width;
use crate::transitional::DeviceCounter;

/// A disk: status 3 at once, no driver features ever, geometry and block size by bytes.
pub(in crate::transitional) const SEABIOS_DISK: &str = "
    bm
    W8[18]=0 R8[19]=0
    W8[18]=3
    R32[0]
    W16[14]=0 R16[12]=128 R32[8]=0 W32[8]=0x100
    R8[C]=64 R8[C+1]=0 R8[C+2]=0 R8[C+3]=0 R8[C+4]=0 R8[C+5]=0 R8[C+6]=0 R8[C+7]=0
    R8[C+20]=0 R8[C+21]=2 R8[C+22]=0 R8[C+23]=0
    R8[C+16] R8[C+17] R8[C+18] R8[C+19]
    W8[18]=7
";

/// Probe.
pub(in crate::transitional) const IPXE_PROBE: &str = "
    bm
    R32[0]=>f
    R8[C]=0x52 R8[C+1]=0x54 R8[C+2]=0 R8[C+3]=0x12 R8[C+4]=0x34 R8[C+5]=0x56
";

/// Open: queues, buffers and a kick before features and before any status; never ACKNOWLEDGE.
pub(in crate::transitional) const IPXE_OPEN: &str = "
    W8[18]=0 R8[19]=0
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110
    rx W16[16]=0
    R32[0]=>f W32[4]=f&0x28                # MAC, MTU
    W8[18]=6
";

pub(in crate::transitional) const IPXE_CLOSE: &str = "
    W8[18]=0
    W16[14]=0 W32[8]=0
    W16[14]=1 W32[8]=0
";

#[test]
fn seabios_boots_from_a_disk_and_hands_it_to_an_old_kernel() {
    replay(Guest::disk, |guest| {
        guest.run(SEABIOS_DISK);
        for sector in 0..8 {
            guest.read_sector(sector, sector, Irq::Poll);
        }
        guest.write_and_read_sector(11, Irq::Poll);
        // F15: the firmware leaves the device running.
        guest.run(linux::RHEL_DISK);
        guest.read_sector(9, 9, Irq::Intx);
        guest.run("W8[18]=0 W16[14]=0 W32[8]=0");
    });
}

#[test]
fn ipxe_boots_from_the_network_and_polls_the_isr_for_nothing() {
    replay(Guest::net, |guest| {
        guest.run(IPXE_PROBE);
        for _ in 0..2 {
            guest.run(IPXE_OPEN);
            let before = guest.stack.commands();
            for _ in 0..5000 {
                assert_eq!(guest.stack.read(19, Width::B1), 0);
            }
            assert_eq!(guest.stack.commands(), before, "F14: 5000 polls without a command");
            guest.ask_the_network(1, Irq::Poll);
            guest.ask_again(2, Irq::Poll);
            assert_eq!(guest.device().report().count(DeviceCounter::KicksCommanded), 0);
            guest.run(IPXE_CLOSE);
        }
        assert_eq!(guest.device().report().count(DeviceCounter::KicksReplayed), 2, "each early kick once");
    });
}

#[test]
fn ipxe_then_linux() {
    replay(Guest::net, |guest| {
        guest.run(IPXE_PROBE);
        guest.run(IPXE_OPEN);
        guest.ask_the_network(1, Irq::Poll);
        // Some images do not close what they booted from.
        guest.run(linux::NET_START);
        guest.run(linux::NET_MSIX);
        guest.ask_the_network(2, Irq::Msix(1));
        guest.run("W8[18]=0 -msix");
    });
}
