// SPDX-License-Identifier: Apache-2.0
//! The fault matrix: each legacy command of each step of an old driver's life, from probe to teardown,
//! meets each fault. The driver goes on, as old drivers do. What it sees is what reference section 2.7
//! says, no access waits for more than its deadline, the function says why it is out of service if
//! it is, no buffer is used that the device holds, and after the fault a reset brings everything back.
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::admin::faulty::{Fault, Rule};
use crate::admin::{QueueCounter, opcode};
use crate::bus::Width;
use crate::contract::mock::{PATIENCE, wait_until};
use crate::soft_pf::{NotifyQuirk, Quirks};
use crate::transitional::DeviceCounter;
use crate::transitional::tests::faulty_stack::{LONGEST, QUEUE, RING, Setup, Stack};

const DEADLINE: Duration = Duration::from_millis(100);
/// Cases that run at once; they mostly wait.
const THREADS: usize = 8;

/// A guest's access. Kicks and ISR reads are among them.
#[derive(Clone, Copy, Debug)]
enum Access {
    Read(u64, Width),
    Write(u64, Width, u32),
    /// Offers a request and kicks; gives the interrupt a moment.
    Request,
    Msix(bool),
}
use Access::{Msix, Read, Request, Write};

struct Step {
    name: &'static str,
    accesses: &'static [Access],
}

const fn step(name: &'static str, accesses: &'static [Access]) -> Step {
    Step { name, accesses }
}

const RESET: &[Access] = &[Write(18, Width::B1, 0)];
const STATUS: &[Access] = &[Read(18, Width::B1)];
const QUEUE_SETUP: &[Access] =
    &[Write(14, Width::B2, 0), Read(12, Width::B2), Read(8, Width::B4), Write(8, Width::B4, (RING >> 12) as u32)];

/// RHEL 5 and others: no MSI-X.
const INTX: &[Step] = &[
    step("reset", RESET),
    step("status after reset", STATUS),
    step("acknowledge", &[Write(18, Width::B1, 1)]),
    step("driver", &[Read(18, Width::B1), Write(18, Width::B1, 3)]),
    step("features", &[Read(0, Width::B4), Write(4, Width::B4, 0x44)]),
    step("configuration", &[Read(20, Width::B4), Read(24, Width::B2), Write(40, Width::B4, 512)]),
    step("queue", QUEUE_SETUP),
    step("driver ok", &[Read(18, Width::B1), Write(18, Width::B1, 7)]),
    step("traffic", &[Request, Read(19, Width::B1), Request, Read(19, Width::B1)]),
    step("configuration, running", &[Read(20, Width::B1)]),
    step("reset at the end", RESET),
    step("status at the end", STATUS),
    step("teardown", &[Write(14, Width::B2, 0), Write(8, Width::B4, 0)]),
];

/// Linux from 2.6.31: MSI-X, vectors written and read back.
const MSIX: &[Step] = &[
    step("reset", RESET),
    step("driver", &[Write(18, Width::B1, 1), Write(18, Width::B1, 3)]),
    step("configuration vector", &[Msix(true), Write(20, Width::B2, 0), Read(20, Width::B2)]),
    step("queue", QUEUE_SETUP),
    step("queue vector", &[Write(22, Width::B2, 1), Read(22, Width::B2)]),
    step("driver ok", &[Write(18, Width::B1, 7)]),
    step("traffic", &[Request]),
    step("queue vector at the end", &[Write(14, Width::B2, 0), Write(22, Width::B2, 0xffff), Read(22, Width::B2)]),
    step("reset at the end", RESET),
    step("status at the end", STATUS),
    step("MSI-X off", &[Msix(false)]),
];

/// What becomes of the function when a command meets the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing: the fault was made good.
    Unharmed,
    /// The result is passed on, whatever it is: nobody can know better than the device.
    Believed,
    /// The access fails and nothing else; a reset in progress becomes a function-level reset.
    AccessFails,
    /// Out of service with this in the reason; but a reset in progress gets it back.
    Faulted(&'static str),
    /// Out of service, and the PF has to be started again.
    PfLost(&'static str),
}
use Outcome::{AccessFails, Believed, Faulted, PfLost, Unharmed};

impl Outcome {
    /// Long where nothing waits for its end, so that a slow machine is not taken for a slow PF.
    fn deadline(self) -> Duration {
        match self {
            Unharmed | AccessFails | Believed | Faulted("refused") => LONGEST,
            Faulted(_) | PfLost(_) => DEADLINE,
        }
    }
}

fn stack() -> Stack {
    stack_within(DEADLINE, true)
}

fn stack_within(deadline: Duration, shadow: bool) -> Stack {
    // Kicks by command, so that these meet faults as well.
    let quirks = Quirks { notify: NotifyQuirk::Unsupported, ..Quirks::default() };
    Stack::new(&Setup { deadline, reset_deadline: deadline, quirks, shadow, ..Setup::default() })
}

/// A guest that goes through a trace and looks at what it reads.
struct Guest<'a> {
    stack: &'a mut Stack,
    /// Status values since the last reset.
    statuses: Vec<u32>,
    device_lies: bool,
    reads: Vec<u32>,
}

impl<'a> Guest<'a> {
    fn new(stack: &'a mut Stack) -> Self {
        stack.new_ring();
        Self { stack, statuses: vec![0], device_lies: false, reads: Vec::new() }
    }

    fn run(&mut self, step: &Step) {
        for access in step.accesses {
            let before = self.waits();
            self.access(*access);
            let waits = self.waits() - before;
            // What is promised, whatever the machine's speed: one deadline, and for a reset that of the
            // look at the status after the function-level reset as well.
            let allowed = if matches!(access, Write(18, _, 0)) { 2 } else { 1 };
            assert!(waits <= allowed, "{}: {access:?} used up {waits} deadlines", step.name);
        }
    }

    /// Deadlines that were used up so far. A failure of another kind does not wait, but for a busy
    /// device's, which has a test of its own.
    fn waits(&self) -> u64 {
        let errors = self.stack.device.report().errors;
        errors.get(crate::contract::FailureKind::Timeout) + errors.get(crate::contract::FailureKind::Full)
    }

    fn access(&mut self, access: Access) {
        match access {
            Read(offset, width) => {
                let value = self.stack.read(offset, width);
                // Not even a device that lies may show anything else to a driver that has reset it.
                if offset == 18 && (!self.device_lies || self.statuses == [0]) {
                    // Linux up to 3.4 stops the whole guest if this is not 0 after a reset (F25).
                    assert!(self.statuses.contains(&value), "status {value:#x}, written {:?}", self.statuses);
                }
                self.reads.push(value);
            }
            Write(offset, width, value) => {
                match (offset, value) {
                    (18, 0) => self.statuses = vec![0],
                    (18, value) => self.statuses.push(value),
                    _ => {}
                }
                self.stack.write(offset, width, value);
            }
            Request => {
                self.stack.offer_read(7);
                self.stack.write(16, Width::B2, 0);
                self.stack.pump(Duration::from_millis(2));
            }
            Msix(on) => self.stack.set_msix(on),
        }
    }
}

/// What a run without faults reads, and the commands of each step.
fn healthy(trace: &[Step], shadow: bool) -> (Vec<u32>, Vec<u32>) {
    let mut stack = stack_within(LONGEST, shadow);
    let mut guest = Guest::new(&mut stack);
    let (mut commands, mut opcodes) = (Vec::new(), BTreeSet::new());
    for step in trace {
        guest.run(step);
        let seen = guest.stack.pf.seen();
        opcodes.extend(seen.iter().map(|seen| seen.opcode));
        commands.push(seen.len() as u32);
    }
    // Device configuration is in the first trace alone.
    let last = if trace.len() == INTX.len() { 5 } else { 3 };
    assert!(opcodes.into_iter().eq(2..=last), "each legacy command is met");
    let reads = guest.reads;
    assert!(reads.contains(&u32::from(QUEUE)) && stack.device.report().faulted.is_none());
    (reads, commands)
}

/// One case of the matrix.
struct Case<'a> {
    trace: &'a [Step],
    at: usize,
    rule: Rule,
    outcome: Outcome,
    reads: &'a [u32],
    shadow: bool,
}

impl Case<'_> {
    fn run(&self) {
        let mut stack = stack_within(self.outcome.deadline(), self.shadow);
        let mut guest = Guest::new(&mut stack);
        guest.device_lies = self.outcome == Believed;
        self.trace[..self.at].iter().for_each(|step| guest.run(step));
        guest.stack.pf.seen();
        guest.stack.pf.add(self.rule.clone());
        guest.run(&self.trace[self.at]);
        self.check_state(guest.stack);
        self.trace[self.at + 1..].iter().for_each(|step| guest.run(step));
        self.check_reads(&guest.reads);
        self.check_commands(&stack);
        self.check_recovery(&mut stack);
    }

    fn check_state(&self, stack: &Stack) {
        let report = stack.device.report();
        let in_reset = self.trace[self.at].accesses.iter().any(|access| matches!(access, Write(18, _, 0)));
        match (self.outcome, in_reset) {
            (Unharmed, _) => {
                assert_eq!((report.faulted.as_deref(), report.count(DeviceCounter::FunctionResets)), (None, 0))
            }
            // One lie is not believed: a status that comes back after a reset.
            (Believed, _) => assert!(report.faulted.is_none_or(|why| why.contains("after a reset that had ended"))),
            (AccessFails, false) => assert_eq!(report.faulted, None),
            (AccessFails | Faulted(_), true) => {
                assert_eq!((report.faulted.as_deref(), report.count(DeviceCounter::FunctionResets)), (None, 1))
            }
            (Faulted(why), false) | (PfLost(why), _) => {
                let reason = report.faulted.expect("out of service");
                assert!(reason.contains(why), "{reason}");
            }
        }
    }

    /// Each register reads as on a healthy device, or as all ones.
    fn check_reads(&self, reads: &[u32]) {
        assert_eq!(reads.len(), self.reads.len());
        if self.outcome == Believed {
            return;
        }
        for (read, healthy) in reads.iter().zip(self.reads) {
            let ones = matches!(*read, 0xff | 0xffff | 0xffff_ffff);
            // What a lost write or a lost kick leaves: another status (checked there), no interrupt.
            assert!(read == healthy || ones || *read <= 7, "{read:#x} in place of {healthy:#x}");
        }
    }

    fn check_commands(&self, stack: &Stack) {
        for seen in stack.pf.seen() {
            assert!(seen.opcode <= opcode::LEGACY_NOTIFY_INFO && seen.group_type == 1, "{seen:?}");
            assert_eq!(seen.member_id, u64::from(seen.opcode > 1), "{seen:?}");
        }
        // Not each access waits: one command was abandoned, and one for each later reset.
        let stats = stack.driver.channel().counts();
        assert!(stats.get(QueueCounter::Abandoned) <= 3, "{stats:?}");
        assert_eq!(stack.pf.violations(), 0);
    }

    fn check_recovery(&self, stack: &mut Stack) {
        stack.pf.clear();
        stack.pf.put_back();
        stack.pf.release();
        if matches!(self.outcome, PfLost(_)) {
            stack.watch_until_well();
            assert_eq!(stack.watchdog.restarts(), 1);
        } else {
            assert_eq!(stack.driver.channel().dead(), None);
        }
        // Slower from here on, so that a busy machine is not taken for a lost PF.
        let end = Instant::now() + PATIENCE;
        loop {
            stack.set_msix(false);
            stack.write(18, Width::B1, 0);
            let report = stack.device.report();
            if report.faulted.is_none() {
                break;
            }
            assert!(Instant::now() < end, "{report:?}");
        }
        stack.run_intx(9);
        assert_eq!((stack.device.report().faulted, stack.pf.violations()), (None, 0));
        self.check_quarantine(stack);
    }

    /// A slot that the device gave back late is free again; one that it kept stays away for good.
    fn check_quarantine(&self, stack: &Stack) {
        let kept = match self.rule.fault {
            Fault::Lose | Fault::NeverReply => stack.driver.channel().counts().get(QueueCounter::Abandoned),
            _ => 0,
        };
        wait_until("late answers are back", || {
            stack.read(20, Width::B1);
            stack.driver.channel().counts().get(QueueCounter::Quarantined) == kept
        });
        assert_eq!(stack.pf.violations(), 0);
    }
}

/// Runs the fault at each command of each step of both traces.
fn matrix(fault: &Fault, outcome: Outcome) {
    for (trace, shadow) in [(INTX, false), (INTX, true), (MSIX, false), (MSIX, true)] {
        let (reads, commands) = healthy(trace, shadow);
        assert!(commands.iter().sum::<u32>() >= 14, "{commands:?}");
        let rules = |(at, count): (usize, &u32)| (0..*count).map(move |skip| (at, skip)).collect::<Vec<_>>();
        let todo: Mutex<Vec<_>> = Mutex::new(commands.iter().enumerate().flat_map(rules).collect());
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let Some((at, skip)) = todo.lock().unwrap().pop() else { return };
                        let rule = Rule::nth(skip, fault.clone());
                        let case = Case { trace, at, rule, outcome, reads: &reads, shadow };
                        let place =
                            format!("{fault:?} at command {skip} of step {:?}, shadow {shadow}", trace[at].name);
                        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.run()));
                        assert!(outcome.is_ok(), "{place}");
                    }
                });
            }
        });
    }
}

#[test]
fn f12_a_lost_command() {
    matrix(&Fault::Lose, Faulted("deadline"));
}

#[test]
fn f12_a_command_that_is_never_answered() {
    matrix(&Fault::NeverReply, Faulted("deadline"));
}

#[test]
fn f12_an_answer_that_waits_for_the_end_of_the_fault() {
    matrix(&Fault::Hold, Faulted("deadline"));
}

#[test]
fn f12_an_answer_after_the_deadline() {
    // Long after, so that a busy machine does not make it early.
    matrix(&Fault::Delay(5 * DEADLINE), Faulted("deadline"));
}

#[test]
fn a_slow_answer() {
    matrix(&Fault::Delay(DEADLINE / 20), Unharmed);
}

#[test]
fn a_buffer_that_is_returned_twice() {
    matrix(&Fault::Duplicate, PfLost("more buffers than it was given"));
}

#[test]
fn a_buffer_that_is_returned_as_another() {
    matrix(&Fault::UsedId(6), PfLost("does not hold"));
    matrix(&Fault::UsedId(u32::MAX), PfLost("not the head"));
}

#[test]
fn a_used_index_that_runs_ahead() {
    matrix(&Fault::UsedIndex(3), PfLost("more buffers than it was given"));
}

#[test]
fn an_answer_without_a_status() {
    matrix(&Fault::UsedLength(2), AccessFails);
}

#[test]
fn an_answer_that_claims_more_than_its_buffer_has() {
    matrix(&Fault::UsedLength(u32::MAX), Unharmed);
}

#[test]
fn a_refusal() {
    for (status, qualifier) in [(22, 3), (16, 0), (6, 0), (28, 6), (0x63, 0x30)] {
        matrix(&Fault::Status(status, qualifier), AccessFails);
    }
}

#[test]
fn a_member_or_group_that_is_gone() {
    for qualifier in [4, 5] {
        matrix(&Fault::Status(22, qualifier), Faulted("refused"));
    }
}

#[test]
fn a_busy_device() {
    matrix(&Fault::Status(11, 7), Unharmed);
    matrix(&Fault::Status(12, 6), Unharmed);
}

#[test]
fn a_lost_command_list() {
    matrix(&Fault::Status(22, 2), Unharmed);
}

#[test]
fn a_wrong_result() {
    matrix(&Fault::Result, Believed);
}

#[test]
fn f13_a_device_reset_behind_the_driver() {
    matrix(&Fault::ResetDevice, PfLost("reset behind its driver"));
}

#[test]
fn f13_a_function_reset_behind_the_driver() {
    matrix(&Fault::ResetFunction, PfLost("all ones"));
}

#[test]
fn h28_vf_enable_cleared() {
    matrix(&Fault::DisableVfs, PfLost("refused"));
}

#[test]
fn h27_surprise_removal() {
    matrix(&Fault::RemoveAllOnes, PfLost("all ones"));
    matrix(&Fault::RemoveGone, PfLost("gone"));
}

/// Not one command fails, but all from some step on.
#[test]
fn faults_that_stay_cost_one_deadline_for_each_command_that_is_tried() {
    let (reads, _) = healthy(INTX, true);
    let stay = [(Fault::Lose, "deadline"), (Fault::Hold, "deadline"), (Fault::Status(22, 5), "refused")];
    for (fault, why) in stay {
        for at in 0..INTX.len() {
            let mut stack = stack();
            let mut guest = Guest::new(&mut stack);
            INTX[..at].iter().for_each(|step| guest.run(step));
            guest.stack.pf.add(Rule::every(fault.clone()));
            INTX[at..].iter().for_each(|step| guest.run(step));
            let case = Case {
                trace: INTX,
                at,
                rule: Rule::every(fault.clone()),
                outcome: Faulted(why),
                reads: &reads,
                shadow: true,
            };
            case.check_reads(&guest.reads);
            case.check_commands(&stack);
            assert!(stack.device.report().faulted.expect("out of service").contains(why));
            case.check_recovery(&mut stack);
        }
    }
}

/// Busy for ever: nothing is known to be wrong, so the function stays in service, and each access
/// waits for the deadlines of its own few commands.
#[test]
fn a_device_that_stays_busy_is_waited_for_and_not_given_up() {
    for at in 0..INTX.len() {
        let mut stack = stack();
        let mut guest = Guest::new(&mut stack);
        INTX[..at].iter().for_each(|step| guest.run(step));
        guest.stack.pf.add(Rule::every(Fault::Status(11, 7)));
        for access in INTX[at].accesses {
            let before = guest.stack.device.report().errors.get(crate::contract::FailureKind::Refused);
            guest.access(*access);
            let report = guest.stack.device.report();
            // A vector and what it is for, at most: nothing is tried in other ways, or byte by byte.
            assert!(report.errors.get(crate::contract::FailureKind::Refused) - before <= 2, "{access:?}");
            assert_eq!(report.faulted, None);
        }
        stack.pf.clear();
        stack.run_intx(3);
    }
}
