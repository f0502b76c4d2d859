// SPDX-License-Identifier: Apache-2.0
//! FreeBSD 9.3 and 13 (reference section 4.7).

use super::{Guest, Irq, replay};

/// 9.3 reads configuration in 4-, 2- and 1-byte chunks; vectors come after the queues.
pub(in crate::transitional) const V9_NET: &str = "
    bm
    W8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f W32[4]=f&0x18020             # MAC, MRG_RXBUF, STATUS
    R32[C]=0x12005452 R16[C+4]=0x5634
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110
    msix
    W16[20]=0 R16[20]=0
    W16[14]=0 W16[22]=1 R16[22]=1
    W16[14]=1 W16[22]=2 R16[22]=2
    rx W16[16]=0
    R8[18]=3 W8[18]=7
    R16[C+6]=1
";

pub(in crate::transitional) const V9_NET_DETACH: &str = "
    W8[18]=0
    W16[14]=0 W32[8]=0
    W16[14]=1 W32[8]=0
    -msix
";

/// The whole structure in 4-byte chunks: C+16 spans cylinders, heads and sectors.
const V9_DISK: &str = "
    bm
    W8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f W32[4]=f&0x54                # SEG_MAX, GEOMETRY, BLK_SIZE
    R32[C]=64 R32[C+4]=0 R32[C+8] R32[C+12]=126 R32[C+16] R32[C+20]=512
    W16[14]=0 R16[12]=128 R32[8]=0 W32[8]=0x100
    R8[18]=3 W8[18]=7
";

/// 13 and later: reads back until a reset is done, bytes, read-modify-write of the status.
const V13_START: &str = "
    W8[18]=0 R8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f W32[4]=f&0x10020
";

const V13_QUEUES: &str = "
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110
";

const V13_VECTORS: &str = "
    W16[20]=0 R16[20]=0
    W16[14]=0 W16[22]=1 R16[22]=1
    W16[14]=1 W16[22]=2 R16[22]=2
";

const V13_RUN: &str = "
    rx W16[16]=0
    R8[18]=3 W8[18]=7
    R8[C+6]=1 R8[C+7]=0
";

const V13_MAC: &str = "
    R8[C]=0x52 R8[C+1]=0x54 R8[C+2]=0 R8[C+3]=0x12 R8[C+4]=0x34 R8[C+5]=0x56
";

#[test]
fn freebsd_9_3_network() {
    replay(Guest::net, |guest| {
        guest.run(V9_NET);
        guest.ask_the_network(1, Irq::Msix(1));
        guest.ask_again(2, Irq::Msix(1));
        guest.run(V9_NET_DETACH);
    });
}

/// `hw.pci.enable_msix=0` and a BIOS without MSI: one interrupt on the line, no vector register.
const V9_NET_INTX: &str = "
    bm
    W8[18]=0
    R8[18]=0 W8[18]=1
    R8[18]=1 W8[18]=3
    R32[0]=>f W32[4]=f&0x18020             # MAC, MRG_RXBUF, STATUS
    R32[20]=0x12005452 R16[24]=0x5634
    W16[14]=0 R16[12]=256 R32[8]=0 W32[8]=0x100
    W16[14]=1 R16[12]=256 R32[8]=0 W32[8]=0x110
    rx W16[16]=0
    R8[18]=3 W8[18]=7
    R16[26]=1
";

#[test]
fn freebsd_9_3_network_with_plain_intx() {
    replay(Guest::net, |guest| {
        guest.run(V9_NET_INTX);
        for host in 20..30 {
            if host == 20 { guest.ask_the_network(host, Irq::Intx) } else { guest.ask_again(host, Irq::Intx) }
        }
        guest.run("W8[18]=0 W16[14]=0 W32[8]=0 W16[14]=1 W32[8]=0");
    });
}

#[test]
fn freebsd_13_network_with_plain_intx_goes_down_and_up() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        for host in [1, 2, 3] {
            guest.run(V13_START);
            guest.run(V13_MAC);
            guest.run(V13_QUEUES);
            guest.run(V13_RUN);
            guest.ask_the_network(host, Irq::Intx);
            guest.ask_again(host + 10, Irq::Intx);
        }
        guest.run("W8[18]=0 R8[18]=0");
    });
}

#[test]
fn freebsd_9_3_disk() {
    replay(Guest::disk, |guest| {
        guest.run(V9_DISK);
        guest.read_sector(3, 3, Irq::Intx);
        guest.write_and_read_sector(40, Irq::Intx);
        let split = guest.seen.clone();
        guest.run("R16[C+16] R8[C+18] R8[C+19]");
        let [cylinders, heads, sectors] = guest.seen[split.len()..].try_into().unwrap();
        assert!(split.contains(&(cylinders | heads << 16 | sectors << 24)), "one read is the three fields");
        guest.run("W8[18]=0 W16[14]=0 W32[8]=0");
    });
}

#[test]
fn freebsd_13_network_goes_down_and_up_with_msix_left_on() {
    replay(Guest::net, |guest| {
        guest.run("bm");
        guest.run(V13_START);
        guest.run(V13_MAC);
        guest.run(V13_QUEUES);
        guest.run("msix");
        guest.run(V13_VECTORS);
        guest.run(V13_RUN);
        guest.ask_the_network(1, Irq::Msix(1));
        for host in 2..5 {
            // "reinit": the device has lost its vectors, and gets them again.
            guest.run(V13_START);
            guest.run("W16[14]=0 R16[22]=0xffff R16[20]=0xffff");
            guest.run(V13_QUEUES);
            guest.run(V13_VECTORS);
            guest.run(V13_RUN);
            guest.ask_the_network(host, Irq::Msix(1));
        }
        guest.run("W8[18]=0 R8[18]=0 -msix");
    });
}

/// H42: FreeBSD sets its address byte by byte; what it reads back is what it wrote.
#[test]
fn a_mac_address_that_is_written_reads_back() {
    replay(Guest::net, |guest| {
        guest.run(V13_START);
        guest.run(V13_MAC);
        guest.run("W8[C]=2 W8[C+1]=0 W8[C+2]=0 W8[C+3]=0xaa W8[C+4]=0xbb W8[C+5]=0xcc");
        guest.run("R8[C]=2 R8[C+1]=0 R8[C+2]=0 R8[C+3]=0xaa R8[C+4]=0xbb R8[C+5]=0xcc R32[C]=0xaa000002");
        guest.run("W8[18]=0");
        guest.run(V13_MAC);
    });
}
