// SPDX-License-Identifier: Apache-2.0
//! Linux 2.6.31 to 3.4 (reference section 4.2), and RHEL 4 and 5 (section 4.3).

use super::{Guest, Irq, replay};

/// Reset, status, features, MAC: steps 1 to 13.
pub(in crate::transitional) const NET_START: &str = "
    W8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f W32[4]=f&0x30020             # MAC, STATUS, CTRL_VQ
    R8[C]=0x52 R8[C+1]=0x54 R8[C+2]=0 R8[C+3]=0x12 R8[C+4]=0x34 R8[C+5]=0x56
";

/// Steps 14 to 36.
pub(in crate::transitional) const NET_MSIX: &str = "
    msix
    W16[20]=0 R16[20]=0
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100 W16[22]=1 R16[22]=1
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110 W16[22]=2 R16[22]=2
    W16[14]=2 R16[12]=64  R32[8]=0 W32[8]=0x120
    rx W16[16]=0                           # before DRIVER_OK
    R8[30]=1 R8[31]=0                      # link status, moved
    R8[18]=3 W8[18]=7
";

/// The same steps of a driver that got no MSI-X, and of RHEL 4 and 5, which know none.
pub(in crate::transitional) const NET_INTX: &str = "
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110
    W16[14]=2 R16[12]=64  R32[8]=0 W32[8]=0x120
    rx W16[16]=0
    R8[26]=1 R8[27]=0
    R8[18]=3 W8[18]=7
";

pub(in crate::transitional) const UNLOAD_MSIX: &str = "
    W8[18]=0
    W16[14]=0 W16[22]=0xffff R8[19]=0 W32[8]=0
    W16[14]=1 W16[22]=0xffff R8[19]=0 W32[8]=0
    W16[14]=2 W16[22]=0xffff R8[19]=0 W32[8]=0
    W16[20]=0xffff R16[20]=0xffff
    -msix
";

pub(in crate::transitional) const UNLOAD_INTX: &str = "
    W8[18]=0
    W16[14]=0 W32[8]=0
    W16[14]=1 W32[8]=0
    W16[14]=2 W32[8]=0
";

/// The kernel's first try, one vector for each queue, on a device that keeps vectors 0 and 1 alone:
/// queue 1 is refused, and everything is taken down again.
const PER_QUEUE_REFUSED: &str = "
    msix
    W16[20]=0 R16[20]=0
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100 W16[22]=1 R16[22]=1
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110 W16[22]=2 R16[22]=0xffff
    W32[8]=0
    W16[14]=0 W16[22]=0xffff R8[19]=0 W32[8]=0
    W16[20]=0xffff R16[20]=0xffff
    -msix
";

/// Either try on a device that keeps vector 0 alone: queue 0 is refused already.
const QUEUE_0_REFUSED: &str = "
    W16[20]=0 R16[20]=0
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100 W16[22]=1 R16[22]=0xffff
    W32[8]=0
    W16[20]=0xffff R16[20]=0xffff
    -msix
";

/// The second try: one vector for configuration, one for all queues.
const NET_SHARED: &str = "
    msix2
    W16[20]=0 R16[20]=0
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100 W16[22]=1 R16[22]=1
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110 W16[22]=1 R16[22]=1
    W16[14]=2 R16[12]=64  R32[8]=0 W32[8]=0x120
    rx W16[16]=0
    R8[30]=1 R8[31]=0
    R8[18]=3 W8[18]=7
";

/// RHEL 5's disk: capacity byte by byte, block size, one queue.
pub(in crate::transitional) const RHEL_DISK: &str = "
    W8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f W32[4]=f&0x46                # SIZE_MAX, SEG_MAX, BLK_SIZE
    R8[C+12] R8[C+13] R8[C+14] R8[C+15]    # segments
    W16[14]=0 R16[12]=128 R32[8]=0 W32[8]=0x100
    R8[C]=64 R8[C+1]=0 R8[C+2]=0 R8[C+3]=0 R8[C+4]=0 R8[C+5]=0 R8[C+6]=0 R8[C+7]=0
    R8[C+20]=0 R8[C+21]=2 R8[C+22]=0 R8[C+23]=0
    R8[18]=3 W8[18]=7
";

#[test]
fn linux_2_6_31_with_msix() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        guest.run(NET_START);
        guest.run(NET_MSIX);
        guest.ask_the_network(1, Irq::Msix(1));
        guest.ask_again(2, Irq::Msix(1));
        guest.run("R8[C+6]=1 R8[C+7]=0"); // the work of a configuration change
        guest.run(UNLOAD_MSIX);
    });
}

#[test]
fn linux_3_4_reads_the_status_back_and_loads_again() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        for host in [3, 4] {
            guest.run("W8[18]=0 R8[18]=0");
            guest.run(NET_START);
            guest.run(NET_MSIX);
            guest.ask_the_network(host, Irq::Msix(1));
            guest.run(UNLOAD_MSIX);
            guest.run("R8[18]=0 W8[18]=1"); // anything else stops that kernel
        }
    });
}

#[test]
fn linux_2_6_31_with_intx_and_no_bus_mastering() {
    replay(Guest::net, |guest| {
        guest.run(NET_START);
        guest.run(NET_INTX);
        guest.ask_the_network(1, Irq::Intx);
        guest.ask_again(2, Irq::Intx);
        guest.run(UNLOAD_INTX);
    });
}

#[test]
fn linux_falls_back_to_intx_when_a_vector_is_refused() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        guest.run(NET_START);
        guest.run("msix W16[20]=99 R16[20]=0xffff -msix");
        guest.run(NET_INTX);
        guest.ask_the_network(1, Irq::Intx);
        guest.run(UNLOAD_INTX);
    });
}

#[test]
fn linux_shares_two_vectors_when_one_for_each_queue_is_refused() {
    replay(
        |shadow| Guest::net_keeping(2, shadow),
        |guest| {
            guest.run("bm");
            guest.run(NET_START);
            guest.run(PER_QUEUE_REFUSED);
            guest.run(NET_SHARED);
            guest.ask_the_network(1, Irq::Msix(1));
            guest.ask_again(2, Irq::Msix(1));
            guest.run(UNLOAD_MSIX);
        },
    );
}

#[test]
fn linux_ends_at_intx_when_two_vectors_are_refused_as_well() {
    replay(
        |shadow| Guest::net_keeping(1, shadow),
        |guest| {
            guest.run("bm");
            guest.run(NET_START);
            guest.run("msix");
            guest.run(QUEUE_0_REFUSED);
            guest.run("msix2");
            guest.run(QUEUE_0_REFUSED);
            guest.run(NET_INTX);
            guest.ask_the_network(1, Irq::IntxOneVector);
            guest.ask_again(2, Irq::IntxOneVector);
            guest.run(UNLOAD_INTX);
        },
    );
}

#[test]
fn a_second_kernel_starts_with_the_device_running() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        guest.run(NET_START);
        guest.run(NET_MSIX);
        guest.ask_the_network(1, Irq::Msix(1));
        // kexec: PCI code switches MSI-X off at its probe, then the driver comes.
        guest.run("-msix");
        guest.run(NET_START);
        guest.run(NET_INTX);
        guest.ask_the_network(2, Irq::Intx);
        guest.run(UNLOAD_INTX);
    });
}

#[test]
fn rhel_4_and_5_network() {
    replay(Guest::net, |guest| {
        guest.run(NET_START);
        guest.run(NET_INTX);
        for host in 20..40 {
            if host == 20 { guest.ask_the_network(host, Irq::Intx) } else { guest.ask_again(host, Irq::Intx) }
        }
        guest.run(UNLOAD_INTX);
    });
}

#[test]
fn rhel_4_and_5_disk() {
    replay(Guest::disk, |guest| {
        guest.run(RHEL_DISK);
        guest.read_sector(5, 5, Irq::Intx);
        for sector in 7..20 {
            guest.write_and_read_sector(sector, Irq::Intx);
        }
        guest.run("W8[18]=0 W16[14]=0 W32[8]=0");
    });
}
