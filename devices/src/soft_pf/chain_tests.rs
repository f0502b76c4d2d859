// SPDX-License-Identifier: Apache-2.0
use virtio_queue::{Queue, QueueT};

use super::super::ring::{Left, Ring};
use super::super::testing::{Ram, Vring};
use super::*;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

fn load(setup: impl FnOnce(&Ram, &mut Vring)) -> Result<Chain, RingError> {
    let ram = Ram::new(0, 0x10000);
    let mut ring = Vring::new(&ram, 0, 16);
    setup(&ram, &mut ring);
    let mut queue = Queue::new(16).unwrap();
    queue.try_set_desc_table_address(GuestAddress(ring.desc)).unwrap();
    queue.try_set_avail_ring_address(GuestAddress(ring.avail)).unwrap();
    queue.try_set_used_ring_address(GuestAddress(ring.used)).unwrap();
    queue.set_ready(true);
    let mut chain = Chain::default();
    let mut ring = Ring {
        queue: &mut queue,
        memory: &ram.memory,
        chain: &mut chain,
        requests: &mut Vec::new(),
        left: Left { buffers: 4, bytes: 1 << 20 },
    };
    ring.pop().map(|some| assert!(some)).map(|()| chain)
}

#[test]
fn two_streams_whatever_the_cut() {
    let ram = Ram::new(0, 0x10000);
    let chain = load(|ram, ring| {
        ram.put(0x4000, b"abcdef");
        ring.add(&[(0x4000, 2, false), (0x4000, 0, false), (0x4002, 4, false), (0x5000, 1, true), (0x6000, 3, true)]);
    })
    .unwrap();
    assert_eq!((chain.readable_len(), chain.writable_len()), (6, 4));
    ram.put(0x4000, b"abcdef");
    let mut out = [0; 8];
    assert_eq!(chain.read(&ram.memory, 1, &mut out).unwrap(), 5);
    assert_eq!(&out[..5], b"bcdef");
    assert_eq!(chain.write(&ram.memory, 0, b"wxyz!").unwrap(), 4, "what does not fit is dropped");
    assert_eq!((ram.get(0x5000, 1), ram.get(0x6000, 4)), (b"w".to_vec(), b"xyz\0".to_vec()));
    assert_eq!(chain.read(&ram.memory, u64::MAX, &mut out).unwrap(), 0);
}

#[test]
fn an_indirect_table_is_followed_once() {
    let table = |ram: &Ram, flags: u16| {
        let ring = Vring { desc: 0x8000, ..Vring::new(ram, 0x9000, 4) };
        ring.set_descriptor(0, (0x4000, 5, NEXT, 1));
        ring.set_descriptor(1, (0x5000, 7, flags, 0));
    };
    let through = |flags: u16, len: u32| {
        load(|ram, ring| {
            table(ram, flags);
            ring.set_descriptor(0, (0x8000, len, INDIRECT, 0));
            ring.publish(0);
        })
    };
    let chain = through(WRITE, 32).unwrap();
    assert_eq!((chain.readable_len(), chain.writable_len()), (5, 7));
    assert!(matches!(through(INDIRECT, 32), Err(RingError::Chain)), "a table in a table");
    assert!(matches!(through(WRITE, 31), Err(RingError::Chain)), "half an entry");
    assert!(matches!(through(WRITE, 16), Err(RingError::Chain)), "the link leaves the table");
    assert!(matches!(through(WRITE, 0), Err(RingError::Chain)), "an empty table");
}

#[test]
fn broken_chains_are_errors() {
    let broken = |setup: fn(&Ram, &mut Vring)| load(setup).err();
    let loops = broken(|_, ring| {
        ring.set_descriptor(0, (0x4000, 1, NEXT, 1));
        ring.set_descriptor(1, (0x4000, 1, NEXT, 0));
        ring.publish(0);
    });
    assert!(matches!(loops, Some(RingError::Chain)));
    let link_outside = broken(|_, ring| {
        ring.set_descriptor(0, (0x4000, 1, NEXT, 16));
        ring.publish(0);
    });
    assert!(matches!(link_outside, Some(RingError::Chain)));
    let head_outside = broken(|_, ring| ring.publish(16));
    assert!(matches!(head_outside, Some(RingError::Chain)));
    let too_long = broken(|_, ring| {
        ring.set_descriptor(0, (0x4000, u32::MAX, NEXT, 1));
        ring.set_descriptor(1, (0x4000, 1, 0, 0));
        ring.publish(0);
    });
    assert!(matches!(too_long, Some(RingError::Chain)));
    let order = broken(|_, ring| {
        ring.add(&[(0x4000, 1, true), (0x4000, 1, false)]);
    });
    assert!(matches!(order, Some(RingError::Order)));
    let index = broken(|_, ring| ring.ram.put_u16(ring.avail + 2, 17));
    assert!(matches!(index, Some(RingError::Index)));
}

#[test]
fn addresses_that_wrap_or_are_not_mapped_are_errors() {
    let at = |address: u64| {
        load(|_, ring| {
            ring.add(&[(address, 8, false), (address, 8, true)]);
        })
    };
    for address in [u64::MAX, u64::MAX - 3] {
        assert!(matches!(at(address), Err(RingError::Unmapped)), "{address:#x}");
    }
    let ram = Ram::new(0, 0x10000);
    for address in [0x10000, 0xfffc, u64::MAX - 8] {
        let chain = at(address).unwrap();
        assert!(matches!(chain.read(&ram.memory, 0, &mut [0; 8]), Err(RingError::Unmapped)), "{address:#x}");
        assert!(matches!(chain.read(&ram.memory, 4, &mut [0; 4]), Err(RingError::Unmapped)), "{address:#x}");
        assert!(matches!(chain.write(&ram.memory, 0, &[0; 8]), Err(RingError::Unmapped)), "{address:#x}");
    }
}
