// SPDX-License-Identifier: Apache-2.0

use std::collections::BTreeSet;

use super::line::Sent;
use super::names::names;
use super::*;
use crate::bus::{Access, Width};
use crate::pci::PciDevice;
use crate::transitional::DeviceCounter;
use crate::transitional::layout::decode::{Direction, Layout};
use crate::transitional::tests::bench::{Bench, Setup};

fn traced(bench: &Bench, capacity: usize) -> Arc<Tracer> {
    let tracer = Tracer::new(capacity);
    bench.device.trace(&tracer);
    tracer.enable(true);
    tracer
}

fn take_all(tracer: &Tracer) -> Vec<Record> {
    std::iter::from_fn(|| tracer.take()).collect()
}

fn accesses(tracer: &Tracer) -> Vec<AccessRecord> {
    let access = |record: Record| match record.what {
        What::Access(access) => Some(access),
        _ => None,
    };
    take_all(tracer).into_iter().filter_map(access).collect()
}

fn sent(access: &AccessRecord) -> Vec<(Direction, u8, Width)> {
    access.commands.noted().iter().map(|c| (c.direction, c.offset, c.width)).collect()
}

#[test]
fn an_access_is_noted_with_its_register_and_the_commands_that_it_took() {
    let bench = Setup::net().build();
    let tracer = traced(&bench, 100);
    let _ = bench.device.bar_write(0, Access { offset: 18, width: Width::B1, vcpu: 3 }, 1);
    assert_eq!(bench.read(18, Width::B1), 1);
    bench.read(19, Width::B1);
    bench.w16(16, 0);
    bench.read(17, Width::B1);
    bench.read(20, Width::B4);
    let seen = accesses(&tracer);
    let names: Vec<_> = seen.iter().map(|a| target_name(DeviceType::Net, &a.transfer.target).into_owned()).collect();
    assert_eq!(names, ["device_status", "device_status", "isr_status", "queue_notify", "none", "config.mac"]);
    let answers: Vec<_> = seen.iter().map(|a| a.answer).collect();
    use Sent::*;
    assert_eq!(answers, [Admin, Admin, Isr, Dropped, Ignored, Admin]);
    assert_eq!((seen[0].access.vcpu, seen[0].transfer.direction, seen[0].transfer.value), (3, Direction::Write, 1));
    assert_eq!(sent(&seen[0]), [(Direction::Write, 18, Width::B1)]);
    assert_eq!(sent(&seen[1]), [(Direction::Read, 18, Width::B1)]);
    assert_eq!(seen[5].commands.noted()[0].area, crate::contract::Area::Device);
    assert!(seen.iter().all(|a| a.commands.error().is_none()));
}

#[test]
fn a_reset_has_its_commands_and_the_shadow_has_none() {
    let mut setup = Setup::net();
    setup.config.shadow = true;
    let bench = setup.build();
    let tracer = traced(&bench, 100);
    bench.write(18, Width::B1, 0);
    bench.write(18, Width::B1, 1);
    bench.read(18, Width::B1);
    let records = take_all(&tracer);
    assert!(matches!(records[0].what, What::Reset(ResetKind::Device)), "noted when it begins");
    let What::Access(reset) = &records[1].what else { panic!("{records:?}") };
    assert_eq!(sent(reset)[..2], [(Direction::Write, 18, Width::B1), (Direction::Read, 18, Width::B1)]);
    let What::Access(read) = &records[3].what else { panic!("{records:?}") };
    assert_eq!((read.answer, read.commands.count(), read.transfer.value), (Sent::Shadow, 0, 1));
}

#[test]
fn a_queue_on_the_interrupt_line_shows_the_hidden_vector() {
    let bench = Setup::net().build();
    let tracer = traced(&bench, 100);
    bench.w16(14, 1);
    bench.read(12, Width::B2);
    bench.write(8, Width::B4, 0x123);
    let seen = accesses(&tracer);
    let offsets: Vec<_> = sent(&seen[2]).into_iter().map(|(direction, offset, _)| (direction, offset)).collect();
    assert_eq!(offsets, [(Direction::Write, 22), (Direction::Read, 22), (Direction::Write, 8)]);
}

#[test]
fn nothing_is_noted_while_nobody_looks() {
    let bench = Setup::net().build();
    let tracer = traced(&bench, 100);
    tracer.enable(false);
    bench.read(18, Width::B1);
    assert!(tracer.take().is_none());
    tracer.enable(true);
    bench.read(18, Width::B1);
    assert_eq!(accesses(&tracer).len(), 1);
    let unattached = Setup::net().build();
    unattached.read(18, Width::B1);
    assert!(tracer.take().is_none());
}

#[test]
fn a_function_that_joins_late_is_on_at_once() {
    let tracer = Tracer::new(10);
    tracer.enable(true);
    let bench = Setup::net().build();
    bench.device.trace(&tracer);
    bench.read(0, Width::B4);
    assert_eq!(accesses(&tracer).len(), 1);
}

#[test]
fn a_full_ring_loses_and_counts_and_the_guest_does_not_notice() {
    let bench = Setup::net().build();
    let tracer = traced(&bench, 8);
    for status in 0..200 {
        bench.write(18, Width::B1, 1 + status % 3);
        assert_eq!(bench.read(18, Width::B1), u64::from(1 + status % 3) as u32);
    }
    let kept = accesses(&tracer).len() as u64;
    assert_eq!((kept, tracer.take_lost(), tracer.take_lost()), (8, 392, 0));
    bench.read(18, Width::B1);
    assert_eq!(accesses(&tracer).len(), 1, "there is room again");
}

#[test]
fn many_threads_note_and_nothing_is_counted_twice() {
    let bench = Setup::net().build();
    let tracer = traced(&bench, 64);
    let taken = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4_u16)
            .map(|vcpu| {
                let bench = &bench;
                scope.spawn(move || {
                    for _ in 0..2000 {
                        bench.device.bar_read(0, Access { offset: 19, width: Width::B1, vcpu });
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                taken.fetch_add(u64::from(tracer.take().is_some()), Ordering::Relaxed);
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Release);
    });
    let left = take_all(&tracer).len() as u64;
    assert_eq!(taken.into_inner() + left + tracer.take_lost(), 8000);
}

#[test]
fn msix_and_machine_resets_and_totals_are_noted() {
    let bench = Setup::net().build();
    let tracer = traced(&bench, 100);
    bench.read(0, Width::B4);
    bench.device.shutdown();
    let records = take_all(&tracer);
    assert!(matches!(records[1].what, What::Reset(ResetKind::Machine)));
    let What::Totals(report) = &records[2].what else { panic!("{records:?}") };
    assert_eq!((report.count(DeviceCounter::Reads), report.id.as_str()), (1, "net0"));
}

#[test]
fn names_are_those_of_the_fields() {
    for device in DeviceType::ALL {
        let starts: BTreeSet<u8> = device.fields().iter().map(|(start, _)| *start).collect();
        let named: BTreeSet<u8> = names(device).iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, named, "{device:?}");
    }
}

#[test]
fn parts_of_fields_say_which() {
    let name = |device, offset: u64, width| {
        let layout = Layout { device, config_len: 100 };
        target_name(device, &layout.decode(20 + offset, width, Direction::Read, false)).into_owned()
    };
    assert_eq!(name(DeviceType::Net, 0, Width::B4), "config.mac");
    assert_eq!(name(DeviceType::Net, 5, Width::B1), "config.mac+5");
    assert_eq!(name(DeviceType::Net, 4, Width::B4), "config.mac+4,status");
    assert_eq!(name(DeviceType::Block, 16, Width::B4), "config.cylinders,heads,sectors");
    assert_eq!(name(DeviceType::Block, 4, Width::B4), "config.capacity+4");
    assert_eq!(name(DeviceType::NineP, 5, Width::B1), "config.5");
}
