// SPDX-License-Identifier: Apache-2.0
//! Threads with real vCPUs, and guests of a few hand-assembled instructions.
use std::sync::atomic::{AtomicBool, Ordering};

use devices::bus::Effect;
use devices::bus::Width::{B1, B2, B4};

use super::*;
use crate::kvm::test_guest::{TestGuest, raise};
use crate::kvm::{IrqLines, VcpuSetup};
use crate::vcpu::CrashCause;
use crate::vcpu::test_board::Seen::{self, Read, Write};
use crate::vcpu::test_board::{Recorder, TestBoard};
use devices::contract::mock::{PATIENCE, give_it_time, wait_until};

const LIMIT: Duration = PATIENCE;
/// mov dx, 0x604; out dx, al; jmp $
const POWER_OFF: [u8; 6] = [0xba, 0x04, 0x06, 0xee, 0xeb, 0xfe];
/// mov dx, 0xc00
const MOV_DX_PORT: [u8; 3] = [0xba, 0x00, 0x0c];
/// jmp $
const LOOP: [u8; 2] = [0xeb, 0xfe];

fn start(vcpus: Vec<KvmVcpu>, test: &TestBoard) -> Vcpus {
    Vcpus::start(vcpus, &test.board, VcpuState::Running).unwrap()
}

/// Waits for the end of the VM by its eventfd, as the main loop does.
fn wait_for_end(vcpus: &Vcpus) -> ExitReason {
    wait_until("the guest ends", || vcpus.exit_event().read().is_ok());
    vcpus.exit_reason().expect("an end has a reason")
}

/// Runs one vCPU in real mode until the guest switches off.
fn run_to_power_off(guest: &TestGuest, test: &TestBoard) -> KvmVcpu {
    let vcpus = start(vec![guest.boot_vcpu()], test);
    let reason = wait_for_end(&vcpus);
    assert!(matches!(reason, ExitReason::PowerOff), "{reason:?}");
    vcpus.stop(LIMIT).unwrap().remove(0)
}

fn guest(code: &[&[u8]]) -> Option<TestGuest> {
    TestGuest::new(&code.concat())
}

#[test]
fn port_accesses_of_each_width() {
    let code: [&[u8]; 10] = [
        &MOV_DX_PORT,
        &[0xb0, 0x11, 0xee],                               // mov al, 0x11; out dx, al
        &[0xb8, 0x33, 0x22, 0xef],                         // mov ax, 0x2233; out dx, ax
        &[0x66, 0xb8, 0x77, 0x66, 0x55, 0x44, 0x66, 0xef], // mov eax, 0x44556677; out dx, eax
        &[0xec, 0x66, 0xef],                               // in al, dx; out dx, eax
        &[0xed, 0x66, 0xef],                               // in ax, dx; out dx, eax
        &[0x66, 0xed, 0x66, 0xef],                         // in eax, dx; out dx, eax
        &[0xba, 0x77, 0x0b, 0x66, 0xed],                   // mov dx, 0xb77; in eax, dx: nobody there
        &[0xba, 0x00, 0x0c, 0x66, 0xef],                   // mov dx, 0xc00; out dx, eax
        &POWER_OFF,
    ];
    let Some(guest) = guest(&code) else { return };
    let test = TestBoard::new();
    run_to_power_off(&guest, &test);
    let expected = [
        Write(0, B1, 0x11),
        Write(0, B2, 0x2233),
        Write(0, B4, 0x4455_6677),
        Read(0, B1),
        Write(0, B4, 0x4455_6611),
        Read(0, B2),
        Write(0, B4, 0x4455_2211),
        Read(0, B4),
        Write(0, B4, 0x4433_2211),
        Write(0, B4, 0xffff_ffff),
    ];
    assert_eq!(test.ports.seen(), expected);
}

#[test]
fn string_instructions_are_single_accesses() {
    let code: [&[u8]; 6] = [
        &MOV_DX_PORT,
        &[0xfc, 0xbe, 0x00, 0x20, 0xb9, 0x05, 0x00, 0xf3, 0x6e], // cld; mov si, 0x2000; mov cx, 5; rep outsb
        &[0xb9, 0x02, 0x00, 0xf3, 0x6f],                         // mov cx, 2; rep outsw
        &[0xbf, 0x00, 0x30, 0xb9, 0x04, 0x00, 0xf3, 0x6c],       // mov di, 0x3000; mov cx, 4; rep insb
        &[0xb9, 0x02, 0x00, 0xf3, 0x66, 0x6d],                   // mov cx, 2; rep insd
        &POWER_OFF,
    ];
    let Some(guest) = guest(&code) else { return };
    guest.write(0x2000, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let count = std::sync::atomic::AtomicU64::new(0xa0);
    let answer = move |_| count.fetch_add(1, Ordering::SeqCst);
    let test = TestBoard::with_ports(Recorder::new(answer, |_, _| Effect::None));
    run_to_power_off(&guest, &test);
    let mut expected: Vec<Seen> = (1..=5).map(|value| Write(0, B1, value)).collect();
    expected.extend([Write(0, B2, 0x706), Write(0, B2, 0x908)]);
    expected.extend([Read(0, B1); 4]);
    expected.extend([Read(0, B4); 2]);
    assert_eq!(test.ports.seen(), expected);
    assert_eq!(guest.read(0x3000), [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0, 0, 0, 0xa5, 0, 0, 0]);
}

#[test]
fn memory_accesses_and_counters() {
    let code: [&[u8]; 6] = [
        &[0xb8, 0x00, 0x20, 0x8e, 0xd8],       // mov ax, 0x2000; mov ds, ax
        &[0xc7, 0x06, 0x10, 0x00, 0x34, 0x12], // mov word [0x10], 0x1234
        &[0xa0, 0x20, 0x00],                   // mov al, [0x20]
        &[0x66, 0xa1, 0x30, 0x00],             // mov eax, [0x30]
        &[0xba, 0x00, 0x0c, 0x66, 0xef],       // mov dx, 0xc00; out dx, eax
        &POWER_OFF,
    ];
    let Some(guest) = guest(&code) else { return };
    let test = TestBoard::new();
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    assert!(matches!(wait_for_end(&vcpus), ExitReason::PowerOff));
    assert_eq!(test.memory.seen(), [Write(0x10, B2, 0x1234), Read(0x20, B1), Read(0x30, B4)]);
    assert_eq!(test.ports.seen(), [Write(0, B4, 0x4433_2211)]);
    let counts = vcpus.vcpu(0).unwrap().stats().counts();
    assert_eq!((counts.get(crate::vcpu::ExitKind::MmioRead), counts.get(crate::vcpu::ExitKind::MmioWrite)), (2, 1));
    assert_eq!((counts.get(crate::vcpu::ExitKind::PortIn), counts.get(crate::vcpu::ExitKind::PortOut)), (0, 2));
}

fn stops_in_time(code: &[u8]) {
    let Some(guest) = guest(&[&MOV_DX_PORT, &[0xee], code]) else { return };
    let test = TestBoard::new();
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    test.ports.wait_for(1);
    give_it_time(Duration::from_millis(20));
    assert_eq!(vcpus.stop(LIMIT).unwrap().len(), 1);
    assert!(matches!(vcpus.exit_reason(), Some(ExitReason::Stopped)));
    assert!(test.board.cancelled.load(Ordering::SeqCst), "waiting devices are told");
}

#[test]
fn endless_loop_is_kicked_out() {
    stops_in_time(&LOOP);
}

#[test]
fn halted_vcpu_is_kicked_out() {
    stops_in_time(&[0xfa, 0xf4, 0xeb, 0xfd]); // cli; hlt; jmp to the hlt
}

#[test]
fn kick_before_kvm_run_is_never_lost() {
    // Exits at once if it gets to run: out dx, al; jmp back
    let Some(guest) = guest(&[&[0xee, 0xeb, 0xfd]]) else { return };
    let mut vcpu = guest.boot_vcpu();
    let kicker = Kicker::new().unwrap();
    let _bound = vcpu.bind_to_thread(kicker).unwrap();
    let kick = vmm_sys_util::signal::SIGRTMIN();
    for _ in 0..1000 {
        // The signal is handled before this returns: KVM_RUN itself sees none.
        raise(kick);
        assert_eq!(vcpu.run().unwrap(), crate::kvm::Exit::Interrupted);
    }
}

#[test]
fn stop_at_any_moment_of_the_start_ends_the_thread() {
    let Some(guest) = guest(&[&LOOP]) else { return };
    let test = TestBoard::new();
    let mut vcpu = guest.boot_vcpu();
    for turn in 0..1000u32 {
        let vcpus = start(vec![vcpu], &test);
        (0..turn % 100 * 50).for_each(|_| std::hint::spin_loop());
        vcpu = vcpus.stop(LIMIT).unwrap_or_else(|error| panic!("turn {turn}: {error}")).remove(0);
    }
}

#[test]
fn kicks_reach_threads_that_were_started_with_signals_blocked() {
    let Some(guest) = guest(&[&MOV_DX_PORT, &[0xee], &LOOP]) else { return };
    let kick = vmm_sys_util::signal::SIGRTMIN();
    vmm_sys_util::signal::block_signal(kick).unwrap();
    let test = TestBoard::new();
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    test.ports.wait_for(1);
    give_it_time(Duration::from_millis(10));
    vcpus.pause(LIMIT).unwrap();
    vmm_sys_util::signal::unblock_signal(kick).unwrap();
}

#[test]
fn dropped_group_leaves_no_thread() {
    let Some(guest) = guest(&[&LOOP]) else { return };
    let test = TestBoard::new();
    let vcpu = start(vec![guest.boot_vcpu()], &test).vcpu(0).unwrap();
    assert_eq!(vcpu.state(), VcpuState::Stopped);
    vcpu.kick();
}

#[test]
fn paused_guest_makes_no_progress_and_goes_on_after_resume() {
    let Some(guest) = guest(&[&[0xff, 0x06, 0x00, 0x20, 0xeb, 0xfa]]) else { return }; // inc word [0x2000]; jmp back
    let test = TestBoard::new();
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    let counter = || u16::from_le_bytes(guest.read(0x2000));
    let moves = || {
        let before = counter();
        wait_until("the guest runs", || counter() != before);
    };
    for _ in 0..20 {
        moves();
        vcpus.pause(LIMIT).unwrap();
        assert_eq!(vcpus.vcpu(0).unwrap().state(), VcpuState::Paused);
        let at_pause = counter();
        give_it_time(Duration::from_millis(5));
        assert_eq!(counter(), at_pause);
        vcpus.resume().unwrap();
    }
    moves();
    vcpus.stop(LIMIT).unwrap();
    assert!(matches!(vcpus.pause(LIMIT), Err(VcpuError::Ended)));
    assert!(matches!(vcpus.resume(), Err(VcpuError::Ended)));
}

#[test]
fn guest_started_paused_waits_for_resume() {
    let Some(guest) = guest(&[&MOV_DX_PORT, &[0xee], &POWER_OFF]) else { return };
    let test = TestBoard::new();
    let vcpus = Vcpus::start(vec![guest.boot_vcpu()], &test.board, VcpuState::Paused).unwrap();
    vcpus.pause(LIMIT).unwrap();
    give_it_time(Duration::from_millis(20));
    assert_eq!(test.ports.seen(), []);
    vcpus.resume().unwrap();
    assert!(matches!(wait_for_end(&vcpus), ExitReason::PowerOff));
    assert_eq!(test.ports.seen().len(), 1);
}

#[test]
fn pause_during_a_read_lets_the_answer_reach_the_register() {
    let Some(guest) = guest(&[&MOV_DX_PORT, &[0xec], &LOOP]) else { return }; // in al, dx
    let answers = Arc::new(AtomicBool::new(false));
    let slow = {
        let answers = answers.clone();
        move |_| {
            wait_until("it may answer", || answers.load(Ordering::SeqCst));
            0x5a
        }
    };
    let test = TestBoard::with_ports(Recorder::new(slow, |_, _| Effect::None));
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    test.ports.wait_for(1);
    let too_short = vcpus.pause(Duration::from_millis(1)).unwrap_err().to_string();
    assert!(too_short.contains("cannot pause in 1ms: vCPUs [0]"), "{too_short}");
    answers.store(true, Ordering::SeqCst);
    vcpus.pause(LIMIT).unwrap();
    let vcpu = vcpus.stop(LIMIT).unwrap().remove(0);
    let regs = vcpu.registers().unwrap().regs;
    assert_eq!((regs.rax & 0xff, regs.rip), (0x5a, 0x1004));
}

#[test]
fn triple_fault_is_a_reset_and_the_vcpu_can_start_again() {
    let Some(guest) = guest(&[&[0x0f, 0x0b], &LOOP]) else { return }; // ud2, without an interrupt table
    let test = TestBoard::new();
    let vcpu = guest.vcpu(0);
    let power_on = guest.real_mode(&vcpu);
    let mut setup = guest.protected_mode(&vcpu);
    setup.registers.special.as_mut().unwrap().idt.limit = 0;
    vcpu.configure(&setup).unwrap();
    let vcpus = start(vec![vcpu], &test);
    let reason = wait_for_end(&vcpus);
    assert!(matches!(reason, ExitReason::Reset), "{reason:?}");
    let vcpu = vcpus.stop(LIMIT).unwrap().remove(0);
    guest.write(0x1000, &POWER_OFF);
    vcpu.configure(&power_on).unwrap();
    let vcpus = start(vec![vcpu], &test);
    assert!(matches!(wait_for_end(&vcpus), ExitReason::PowerOff));
}

#[test]
fn code_outside_memory_ends_in_a_report() {
    let Some(guest) = guest(&[&[0xb8, 0x21, 0x43, 0xea, 0x00, 0x00, 0x00, 0x50]]) else { return }; // mov ax, 0x4321; jmp 0x5000:0
    let test = TestBoard::new();
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    let ExitReason::Crashed(report) = wait_for_end(&vcpus) else { panic!("{:?}", vcpus.exit_reason()) };
    let text = report.to_string();
    assert!(matches!(report.cause, CrashCause::InternalError { suberror: 1, .. }), "{text}");
    assert!(text.contains("rax 0000000000004321"), "{text}");
    assert!(text.contains("cs  5000"), "{text}");
    assert!(text.contains("code at rip: not in guest memory"), "{text}");
}

#[test]
fn registers_show_the_code_at_the_instruction_pointer() {
    let Some(guest) = guest(&[&LOOP, &[0x90, 0xcc]]) else { return };
    let registers = guest.boot_vcpu().registers().unwrap();
    assert_eq!(registers.code[..4], [0xeb, 0xfe, 0x90, 0xcc]);
    assert_eq!(registers.code.len(), 16);
    assert!(registers.to_string().contains("code at rip: eb fe 90 cc 00"));
}

#[test]
fn panic_in_a_device_ends_the_vm_with_a_reason() {
    let Some(guest) = guest(&[&MOV_DX_PORT, &[0xec], &LOOP]) else { return };
    let test = TestBoard::with_ports(Recorder::new(|_| panic!("a bug in a device"), |_, _| Effect::None));
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    let ExitReason::Crashed(report) = wait_for_end(&vcpus) else { panic!("{:?}", vcpus.exit_reason()) };
    assert_eq!(report.cause, CrashCause::Panic("a bug in a device".into()));
    assert!(report.registers.is_some());
    assert_eq!(vcpus.stop(LIMIT).unwrap().len(), 1);
}

#[test]
fn failing_thread_init_ends_the_vm_before_guest_code() {
    let Some(guest) = guest(&[&POWER_OFF]) else { return };
    let mut test = TestBoard::new();
    test.board.thread_init = Some(Arc::new(|index| Err(io::Error::other(format!("no filter for {index}")))));
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    let ExitReason::Crashed(report) = wait_for_end(&vcpus) else { panic!("{:?}", vcpus.exit_reason()) };
    assert_eq!(report.cause, CrashCause::Start("no filter for 0".into()));
}

#[test]
fn end_of_one_vcpu_stops_the_others_and_the_reason_that_came_first_stays() {
    let Some(guest) = guest(&[&POWER_OFF]) else { return };
    let (boot, other) = (guest.boot_vcpu(), guest.vcpu(1));
    guest.write(0x3000, &LOOP);
    let mut setup = guest.real_mode(&other);
    setup.registers.general.as_mut().unwrap().rip = 0x3000;
    other.configure(&setup).unwrap();
    let test = TestBoard::new();
    let vcpus = start(vec![boot, other], &test);
    assert!(matches!(wait_for_end(&vcpus), ExitReason::PowerOff));
    vcpus.shared.wait_for(VcpuState::Stopped, "stop", LIMIT).unwrap();
    assert_eq!(vcpus.stop(LIMIT).unwrap().len(), 2);
    assert!(matches!(vcpus.exit_reason(), Some(ExitReason::PowerOff)));
}

#[test]
fn waiting_vcpu_starts_by_start_up_message_and_pauses_before_it() {
    let code: [&[u8]; 4] = [
        &[0x66, 0xba, 0x00, 0x0c, 0xec],                         // mov dx, 0xc00; in al, dx
        &[0xc7, 0x05, 0x10, 0x03, 0xe0, 0xfe, 0, 0, 0, 1],       // mov dword [0xfee00310], 1 << 24
        &[0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x00, 0x45, 0, 0], // mov dword [0xfee00300], INIT
        &[0xc7, 0x05, 0x00, 0x03, 0xe0, 0xfe, 0x02, 0x46, 0, 0, 0xeb, 0xfe], // start-up at 0x2000; jmp $
    ];
    let Some(guest) = guest(&code) else { return };
    guest.write(0x2000, &[&[0xb0, 0x41], &MOV_DX_PORT[..], &[0xee], &POWER_OFF].concat()); // mov al, 0x41; out
    let (boot, other) = (guest.vcpu(0), guest.vcpu(1));
    boot.configure(&guest.protected_mode(&boot)).unwrap();
    let waiting = VcpuSetup { registers: Default::default(), waits_for_startup: true, ..guest.real_mode(&other) };
    other.configure(&waiting).unwrap();
    let test = TestBoard::new();
    let vcpus = start(vec![boot, other], &test);
    for _ in 0..10 {
        // The guest may be through before the rounds are.
        match vcpus.pause(LIMIT).and_then(|()| vcpus.resume()) {
            Ok(()) => {}
            Err(VcpuError::Ended) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(matches!(wait_for_end(&vcpus), ExitReason::PowerOff));
    assert_eq!(test.ports.seen(), [Read(0, B1), Write(0, B1, 0x41)]);
}

#[test]
fn edge_interrupt_reaches_a_halted_guest() {
    let pic: [&[u8]; 4] = [
        &[0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x08, 0xe6, 0x21], // initialise the master PIC, vectors from 8
        &[0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21], // slave at 2; 8086 mode
        &[0xb0, 0xef, 0xe6, 0x21],                         // all masked but IRQ 4
        &[0xba, 0x00, 0x0c, 0xee, 0xfb, 0xf4, 0xeb, 0xfd], // ready: out dx, al; sti; hlt; jmp to the hlt
    ];
    let Some(guest) = guest(&pic) else { return };
    guest.write(4 * 0x0c, &[0x00, 0x11, 0, 0]);
    // mov al, 0x77; out dx, al; mov al, 0x20; out 0x20, al (end of interrupt); iret
    guest.write(0x1100, &[0xb0, 0x77, 0xee, 0xb0, 0x20, 0xe6, 0x20, 0xcf]);
    let serial = IrqLines::new(&guest.vm).edge_irq(4).unwrap();
    let test = TestBoard::new();
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    for interrupts in 1..=3 {
        test.ports.wait_for(interrupts);
        serial.write(1).unwrap();
        test.ports.wait_for(interrupts + 1);
    }
    give_it_time(Duration::from_millis(20));
    assert_eq!(test.ports.seen()[1..], [Write(0, B1, 0x77); 3], "one interrupt for each signal");
    vcpus.stop(LIMIT).unwrap();
}

#[test]
fn device_that_waits_is_cancelled_by_stop() {
    let Some(guest) = guest(&[&MOV_DX_PORT, &[0xec], &LOOP]) else { return };
    let cancelled = Arc::new(AtomicBool::new(false));
    let waits = {
        let cancelled = cancelled.clone();
        move |_| {
            wait_until("it is cancelled", || cancelled.load(Ordering::SeqCst));
            0xff
        }
    };
    let mut test = TestBoard::with_ports(Recorder::new(waits, |_, _| Effect::None));
    test.board.cancelled = cancelled;
    let vcpus = start(vec![guest.boot_vcpu()], &test);
    test.ports.wait_for(1);
    assert!(matches!(vcpus.pause(Duration::from_millis(20)), Err(VcpuError::Timeout { .. })));
    assert_eq!(vcpus.stop(LIMIT).unwrap().len(), 1);
}

#[test]
fn vcpus_must_come_in_order() {
    let Some(guest) = guest(&[&LOOP]) else { return };
    let error = Vcpus::start(vec![guest.vcpu(1)], &TestBoard::new().board, VcpuState::Running).err().unwrap();
    assert!(matches!(error, VcpuError::Start(_)));
}
