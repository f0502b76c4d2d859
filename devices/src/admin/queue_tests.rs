// SPDX-License-Identifier: Apache-2.0
//! Commands on the virtqueue of a device that answers well, badly, late or never.
use super::*;
use crate::admin::PfDriver;
use crate::admin::scripted_pf::{Quirks, ScriptedPf};
use crate::admin::scripts::{Answer, Script, Seen, legacy_device, reply};
use crate::contract::mock::{give_it_time, wait_until};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

static NEVER: AtomicBool = AtomicBool::new(false);

fn within(milliseconds: u64) -> Wait<'static> {
    Wait { deadline: Instant::now() + Duration::from_millis(milliseconds), cancelled: &NEVER }
}

struct Bench {
    device: Arc<ScriptedPf>,
    driver: PfDriver,
    queue: Arc<PfQueue>,
}

fn bench_with(quirks: Quirks, script: Script) -> Bench {
    let device = ScriptedPf::new(quirks, script);
    let driver = PfDriver::start(device.clone(), Instant::now() + Duration::from_secs(120)).unwrap();
    let queue = driver.channel();
    Bench { device, driver, queue }
}

fn bench(script: impl FnMut(&Seen) -> Answer + Send + 'static) -> Bench {
    bench_with(Quirks::default(), Box::new(script))
}

/// Vector A08 and others: status register of member 3.
fn read_status(queue: &PfQueue, wait: &Wait<'_>) -> Result<u8, AdminError> {
    let mut value = [0xee];
    let command = Command { opcode: 3, group_type: 1, member_id: 3, data: &[18] };
    queue.execute(&command, &mut value, wait)?;
    Ok(value[0])
}

fn ok(result: &[u8]) -> Answer {
    Answer::Reply(reply(0, 0, result))
}

#[test]
fn b12_bytes_lengths_and_doorbell_are_exact() {
    let bench = bench(|_| ok(&[7]));
    assert_eq!(read_status(&bench.queue, &within(120_000)), Ok(7));
    let write = [0x12, 0, 0, 0, 0, 0, 0, 0, 0];
    let command = Command { opcode: 2, group_type: 1, member_id: 3, data: &write };
    assert_eq!(bench.queue.execute(&command, &mut [], &within(120_000)), Ok(()));
    let seen = bench.device.seen();
    let header = [1u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(seen[0].readable, [&[3, 0][..], &header, &[0x12]].concat());
    assert_eq!((seen[0].readable.len(), seen[0].writable), (25, 9));
    assert_eq!(seen[1].readable, [&[2, 0][..], &header, &write].concat());
    assert_eq!((seen[1].readable.len(), seen[1].writable), (33, 8));
    assert_eq!(bench.device.doorbells(), [3, 3], "the doorbell takes the queue index");
}

#[test]
fn many_commands_wrap_the_ring_of_any_size() {
    for queue_size in [2, 4, 100, 256] {
        let bench = bench_with(Quirks { queue_size, ..Quirks::default() }, Box::new(|_| ok(&[9])));
        let slots = [1, 2, 32, 64][[2, 4, 100, 256].iter().position(|size| *size == queue_size).unwrap()];
        assert_eq!(bench.queue.slots(), slots);
        for _ in 0..1000 {
            assert_eq!(read_status(&bench.queue, &within(120_000)), Ok(9));
        }
    }
}

#[test]
fn a15_eagain_and_enomem_are_sent_again_unchanged() {
    let mut refusals = vec![(12, 6), (11, 7), (11, 7)];
    let bench = bench(move |_| match refusals.pop() {
        Some((status, qualifier)) => Answer::Reply(reply(status, qualifier, &[])),
        None => ok(&[7]),
    });
    assert_eq!(read_status(&bench.queue, &within(120_000)), Ok(7));
    let seen = bench.device.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|other| *other == seen[0]));
    assert_eq!(bench.queue.counts().get(QueueCounter::Retries), 3);
}

#[test]
fn a15_retries_end_with_the_deadline_and_on_cancel() {
    let busy_bench = bench(|_| Answer::Reply(reply(11, 7, &[])));
    let wait = within(60);
    let busy = AdminError::Refused { status: 11, qualifier: 7 };
    assert_eq!(read_status(&busy_bench.queue, &wait), Err(busy));
    assert!(Instant::now() >= wait.deadline);
    // Cancelled by the device as it answers the twelfth time, an hour before the deadline.
    let (cancelled, times) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (cancel, sent) = (Arc::clone(&cancelled), Arc::clone(&times));
    let bench = bench(move |_| {
        let mut sent = sent.lock().unwrap();
        sent.push(Instant::now());
        cancel.store(sent.len() == 12, Ordering::Relaxed);
        Answer::Reply(reply(11, 7, &[]))
    });
    let wait = Wait { deadline: Instant::now() + Duration::from_secs(3600), cancelled: &cancelled };
    assert_eq!(read_status(&bench.queue, &wait), Err(AdminError::Cancelled));
    let times = times.lock().unwrap();
    assert_eq!((times.len(), bench.queue.counts().get(QueueCounter::Retries)), (12, 11));
    // 100 us doubled up to 10 ms at least: the device is not flooded.
    for (pair, shift) in times.windows(2).zip(0..) {
        let pause = Duration::from_micros(100 << shift).min(Duration::from_millis(10));
        assert!(pair[1] - pair[0] >= pause, "{:?} after answer {}", pair[1] - pair[0], shift + 1);
    }
}

#[test]
fn a08_a16_refusals_are_reported_once_and_normalised() {
    for (sent, expected) in [((22, 2), (22, 2)), ((0x63, 0x30), (22, 1)), ((16, 0), (16, 0)), ((22, 5), (22, 5))] {
        let bench = bench(move |_| Answer::Reply(reply(sent.0, sent.1, &[])));
        let (status, qualifier) = expected;
        assert_eq!(read_status(&bench.queue, &within(120_000)), Err(AdminError::Refused { status, qualifier }));
        assert_eq!(bench.device.seen().len(), 1);
    }
}

#[test]
fn a17_no_status_is_never_ok() {
    for used in 0..4 {
        let bench = bench(move |_| Answer::Lie(reply(0, 0, &[7]), used));
        let short = AdminError::Short { got: used as usize, wanted: 9 };
        assert_eq!(read_status(&bench.queue, &within(120_000)), Err(short));
        // A write has no result that could be missed: only the length tells.
        let write = Command { opcode: 2, group_type: 1, member_id: 3, data: &[18, 0, 0, 0, 0, 0, 0, 0, 1] };
        let short = AdminError::Short { got: used as usize, wanted: 8 };
        assert_eq!(bench.queue.execute(&write, &mut [], &within(120_000)), Err(short));
        assert_eq!(bench.queue.dead(), None);
    }
}

#[test]
fn used_length_rules_what_counts() {
    // A value that the device wrote but did not report is not there.
    let unreported = bench(|_| Answer::Lie(reply(0, 0, &[7]), 8));
    let short = AdminError::Short { got: 8, wanted: 9 };
    assert_eq!(read_status(&unreported.queue, &within(120_000)), Err(short));
    // A command without result needs no more than a status.
    let brief = bench(|_| Answer::Reply(vec![0, 0, 0, 0]));
    let write = Command { opcode: 2, group_type: 1, member_id: 3, data: &[18, 0, 0, 0, 0, 0, 0, 0, 1] };
    assert_eq!(brief.queue.execute(&write, &mut [], &within(120_000)), Ok(()));
    // A device that claims more than the buffer has is believed as far as the buffer goes.
    let boastful = bench(|_| Answer::Lie(reply(0, 0, &[7]), u32::MAX));
    assert_eq!(read_status(&boastful.queue, &within(120_000)), Ok(7));
}

#[test]
fn replies_never_show_older_ones() {
    let bench = bench_with(Quirks { queue_size: 2, ..Quirks::default() }, Box::new(|_| ok(&[0x55; 4])));
    let read = Command { opcode: 5, group_type: 1, member_id: 3, data: &[0] };
    let mut value = [0; 4];
    bench.queue.execute(&read, &mut value, &within(120_000)).unwrap();
    // The next answer claims four bytes and writes none.
    bench.device.set_script(Box::new(|_| Answer::Lie(reply(0, 0, &[]), 12)));
    bench.queue.execute(&read, &mut value, &within(120_000)).unwrap();
    assert_eq!(value, [0; 4]);
}

#[test]
fn silence_ends_at_the_deadline_and_quarantines() {
    let bench =
        bench_with(Quirks { queue_size: 4, ..Quirks::default() }, Box::new(|_| Answer::Hold(reply(0, 0, &[1]))));
    assert_eq!(read_status(&bench.queue, &within(50)), Err(AdminError::Timeout));
    assert_eq!(read_status(&bench.queue, &within(50)), Err(AdminError::Timeout));
    // Both slots are quarantined: no buffer is used again before the device returns one.
    assert_eq!(read_status(&bench.queue, &within(20)), Err(AdminError::Full));
    assert_eq!(bench.device.seen().len(), 2);
    let stats = bench.queue.counts();
    assert_eq!((stats.get(QueueCounter::Abandoned), stats.get(QueueCounter::Quarantined)), (2, 2));
    // A late answer frees its slot and is nobody's result.
    bench.device.release();
    bench.device.set_script(Box::new(|_| ok(&[2])));
    assert_eq!(read_status(&bench.queue, &within(120_000)), Ok(2));
    assert_eq!(bench.queue.counts().get(QueueCounter::Quarantined), 1);
}

#[test]
fn a_waiting_command_leaves_on_cancel() {
    let bench = bench(|_| Answer::Hold(reply(0, 0, &[1])));
    let cancelled = AtomicBool::new(false);
    // That it ends is what is tested: its deadline is an hour from now.
    let outcome = thread::scope(|scope| {
        let wait = Wait { deadline: Instant::now() + Duration::from_secs(3600), cancelled: &cancelled };
        let queue = &bench.queue;
        let waiting = scope.spawn(move || read_status(queue, &wait));
        while bench.device.held() == 0 {
            thread::yield_now();
        }
        cancelled.store(true, Ordering::Relaxed);
        waiting.join().unwrap()
    });
    assert_eq!(outcome, Err(AdminError::Cancelled));
    assert_eq!(bench.queue.counts().get(QueueCounter::Quarantined), 1);
}

#[test]
fn a_late_answer_in_time_is_an_answer() {
    let bench = bench(|_| Answer::Hold(reply(0, 0, &[5])));
    let outcome = thread::scope(|scope| {
        let waiting = scope.spawn(|| read_status(&bench.queue, &within(120_000)));
        while bench.device.held() == 0 {
            thread::yield_now();
        }
        give_it_time(Duration::from_millis(40));
        bench.device.release();
        waiting.join().unwrap()
    });
    assert_eq!(outcome, Ok(5));
    assert_eq!(bench.queue.counts().get(QueueCounter::Abandoned), 0);
}

#[test]
fn broken_rings_kill_the_channel() {
    let answers =
        [Answer::WrongId(77), Answer::WrongId(1), Answer::Twice(reply(0, 0, &[1])), Answer::UsedIndex(40_000)];
    for answer in answers {
        let script = answer.clone();
        let bench = bench(move |_| script.clone());
        // Dead at once: the deadline is an hour from now.
        let outcome = read_status(&bench.queue, &within(3_600_000));
        assert!(matches!(outcome, Err(AdminError::Dead(_))), "{answer:?}: {outcome:?}");
        let again = read_status(&bench.queue, &within(120_000));
        assert!(matches!(again, Err(AdminError::Dead(_))), "{answer:?}: {again:?}");
        assert_eq!(bench.device.seen().len(), 1, "a dead channel sends nothing");
    }
}

#[test]
fn a_timeout_of_a_lost_pf_says_so() {
    type Spoil = fn(&ScriptedPf);
    let cases: [(Spoil, &str); 4] = [
        (|pf| pf.set_status(0), "reset behind"),
        (|pf| pf.set_status(0xff), "all ones"),
        (|pf| pf.set_status(0x4f), "DEVICE_NEEDS_RESET"),
        (|pf| pf.gone.store(true, Ordering::Relaxed), "gone"),
    ];
    for (spoil, expected) in cases {
        let bench = bench(|_| Answer::Hold(Vec::new()));
        spoil(&bench.device);
        let error = read_status(&bench.queue, &within(20)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn stopping_the_driver_ends_waiting_commands() {
    let Bench { device, driver, queue } = bench(|_| Answer::Hold(Vec::new()));
    let outcome = thread::scope(|scope| {
        let waiting = scope.spawn(|| read_status(&queue, &within(60_000)));
        while device.held() == 0 {
            thread::yield_now();
        }
        driver.stop().unwrap();
        waiting.join().unwrap()
    });
    assert_eq!(outcome, Err(AdminError::Dead("the PF driver was stopped")));
    assert!(device.mapped().is_empty());
}

#[test]
fn oversized_commands_are_not_sent() {
    let bench = bench(|_| ok(&[]));
    let command = Command { opcode: 2, group_type: 1, member_id: 3, data: &[0; 65] };
    let too_long = AdminError::TooLong { data: 65, result: 0 };
    assert_eq!(bench.queue.execute(&command, &mut [], &within(120_000)), Err(too_long));
    let command = Command { data: &[], ..command };
    let too_long = AdminError::TooLong { data: 0, result: 129 };
    assert_eq!(bench.queue.execute(&command, &mut [0; 129], &within(120_000)), Err(too_long));
    assert!(bench.device.seen().is_empty());
}

#[test]
fn a_past_deadline_sends_nothing() {
    let bench = bench(|_| ok(&[1]));
    assert_eq!(read_status(&bench.queue, &within(0)), Err(AdminError::Timeout));
    assert!(bench.device.seen().is_empty());
}

/// Eight members at once, each writing its own register and reading it back.
fn run_members(queue: &PfQueue) {
    thread::scope(|scope| {
        for member_id in 1..=8u64 {
            scope.spawn(move || {
                for round in 0..200u8 {
                    let value = round ^ (member_id as u8) << 4;
                    let data = [9, 0, 0, 0, 0, 0, 0, 0, value];
                    let write = Command { opcode: 4, group_type: 1, member_id, data: &data };
                    queue.execute(&write, &mut [], &within(20_000)).unwrap();
                    let mut seen = [0];
                    let read = Command { opcode: 5, group_type: 1, member_id, data: &[9] };
                    queue.execute(&read, &mut seen, &within(20_000)).unwrap();
                    assert_eq!(seen, [value]);
                }
            });
        }
    });
}

/// On rings with fewer slots than threads, and with more: no command gets another's answer.
#[test]
fn parallel_members_do_not_mix() {
    for queue_size in [2, 8, 128] {
        let bench = bench_with(Quirks { queue_size, ..Quirks::default() }, legacy_device());
        bench.driver.negotiate_commands(&within(120_000)).unwrap();
        run_members(&bench.queue);
        assert_eq!(bench.device.seen().len(), 2 + 8 * 400);
    }
}

/// The same with a device that answers from a thread of its own, newest command at the front, so
/// that threads reap each other's completions.
#[test]
fn parallel_members_of_an_asynchronous_device_do_not_mix() {
    let bench = bench_with(Quirks::default(), legacy_device());
    bench.driver.negotiate_commands(&within(120_000)).unwrap();
    let mut registers = legacy_device();
    // A fresh register file accepts legacy commands after a LIST_USE only.
    let list = Seen { readable: [&[1, 0, 1, 0][..], &[0; 20], &0x7fu64.to_le_bytes()].concat(), writable: 8 };
    registers(&list);
    bench.device.set_script(Box::new(move |seen| match registers(seen) {
        Answer::Reply(bytes) => Answer::Hold(bytes),
        other => other,
    }));
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                if bench.device.held() != 0 {
                    bench.device.release_newest();
                }
                thread::yield_now();
            }
        });
        run_members(&bench.queue);
        finished.store(true, Ordering::Relaxed);
    });
    assert_eq!(bench.queue.counts().get(QueueCounter::Abandoned), 0);
}

fn use_list(queue: &PfQueue, wait: &Wait<'_>) -> Result<(), AdminError> {
    let command = Command { opcode: 1, group_type: 1, member_id: 0, data: &0x7fu64.to_le_bytes() };
    queue.execute(&command, &mut [], wait)
}

#[test]
fn list_use_runs_alone() {
    let bench = bench(|seen| match seen.header().opcode {
        1 => ok(&[]),
        _ => Answer::Hold(reply(0, 0, &[4])),
    });
    let (queue, device) = (&bench.queue, &bench.device);
    let order = AtomicUsize::new(0);
    thread::scope(|scope| {
        let reading = scope.spawn(|| read_status(queue, &within(120_000)));
        while device.held() == 0 {
            thread::yield_now();
        }
        let listing = scope.spawn(|| {
            let outcome = use_list(queue, &within(120_000));
            order.fetch_add(1, Ordering::Relaxed);
            outcome
        });
        wait_until("the gate is closed", || queue.lock().gate == Gate::Closed);
        assert_eq!(device.seen().len(), 1, "LIST_USE waits for the outstanding command");
        // A command that comes later waits behind LIST_USE.
        let blocked = read_status(queue, &within(20));
        assert_eq!(blocked, Err(AdminError::Full));
        assert_eq!(order.load(Ordering::Relaxed), 0);
        device.release();
        assert_eq!(reading.join().unwrap(), Ok(4));
        assert_eq!(listing.join().unwrap(), Ok(()));
    });
    let opcodes: Vec<_> = device.seen().iter().map(|seen| seen.header().opcode).collect();
    assert_eq!(opcodes, [3, 1]);
    device.set_script(Box::new(|_| ok(&[6])));
    assert_eq!(read_status(queue, &within(120_000)), Ok(6), "the gate is open again");
}

#[test]
fn a_lost_list_use_keeps_the_gate_closed_until_it_returns() {
    let bench = bench(|_| Answer::Hold(reply(0, 0, &[])));
    assert_eq!(use_list(&bench.queue, &within(20)), Err(AdminError::Timeout));
    bench.device.set_script(Box::new(|_| ok(&[6])));
    assert_eq!(read_status(&bench.queue, &within(20)), Err(AdminError::Full));
    assert_eq!(use_list(&bench.queue, &within(20)), Err(AdminError::Full));
    bench.device.release();
    assert_eq!(read_status(&bench.queue, &within(120_000)), Ok(6));
}

#[test]
fn list_use_gives_up_when_the_queue_does_not_drain() {
    let bench = bench(|_| Answer::Hold(reply(0, 0, &[4])));
    assert_eq!(read_status(&bench.queue, &within(10)), Err(AdminError::Timeout));
    assert_eq!(use_list(&bench.queue, &within(20)), Err(AdminError::Full));
    bench.device.set_script(Box::new(|_| ok(&[6])));
    assert_eq!(read_status(&bench.queue, &within(120_000)), Ok(6), "the gate is open for others");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever the device answers, `execute` returns soon after its deadline, with a result or an
    /// error, and a dead channel stays dead.
    #[test]
    fn hostile_devices_cannot_hang_the_driver(
        answers in proptest::collection::vec((0u8..6, any::<u32>(),
            proptest::collection::vec(any::<u8>(), 0..20)), 1..8),
    ) {
        let mut script = answers.clone();
        let bench = bench_with(Quirks { queue_size: 8, ..Quirks::default() }, Box::new(move |_| {
            let Some((kind, number, bytes)) = script.pop() else { return ok(&[7]) };
            match kind {
                0 => Answer::Reply(bytes),
                1 => Answer::Lie(bytes, number),
                2 => Answer::Hold(bytes),
                3 => Answer::WrongId(number % 16),
                4 => Answer::Twice(bytes),
                _ => Answer::UsedIndex(number as u16),
            }
        }));
        for _ in 0..answers.len() + 1 {
            let dead = bench.queue.dead();
            // That it comes back is what is tested.
            let outcome = read_status(&bench.queue, &within(3));
            if let Some(reason) = dead {
                prop_assert_eq!(outcome, Err(AdminError::Dead(reason)));
            }
        }
    }
}
