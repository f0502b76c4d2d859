// SPDX-License-Identifier: Apache-2.0
//! A PF that answers what it likes. Its driver starts or says why not, and each command ends with what
//! the device really wrote or with an error, soon after its deadline.
#![no_main]

use std::num::NonZeroU16;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::{AdminChannel, AdminError, AdminRegisters, Command, PfDriver, QueueCounter};
use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, Wait};
use fuzz::hostile_pf::{Answer, HostilePf};
use fuzz::script::Script;
use libfuzzer_sys::fuzz_target;

/// Commands of one input: each may cost its deadline.
const COMMANDS: usize = 40;
const DEADLINE: Duration = Duration::from_millis(1);

fn wait(cancelled: &AtomicBool) -> Wait<'_> {
    Wait { deadline: Instant::now() + DEADLINE, cancelled }
}

/// One read of a register, against what the device wrote for it.
fn read(device: &HostilePf, driver: &PfDriver, offset: u8, width: Width, honest: bool) {
    let cancelled = AtomicBool::new(false);
    let mut result = [0xa5; 4];
    let result = &mut result[..width.bytes()];
    let command = Command { opcode: 3, group_type: 1, member_id: 1, data: &[offset] };
    let before = driver.channel().counts().get(QueueCounter::Abandoned);
    let dead = driver.channel().dead().is_some();
    let outcome = driver.channel().execute(&command, result, &wait(&cancelled));
    assert!(driver.channel().counts().get(QueueCounter::Abandoned) <= before + 1, "it used up more than one deadline");
    assert!(!dead || matches!(outcome, Err(AdminError::Dead(_))), "a dead channel came back: {outcome:?}");
    if outcome.is_ok() && honest {
        let written = device.written();
        assert_eq!(&written[..2], [0, 0], "status of a command that was well");
        assert_eq!(&written[8..8 + result.len()], result, "not what the device wrote");
    }
}

fn step(device: &HostilePf, driver: &PfDriver, script: &mut Script<'_>) {
    let cancelled = AtomicBool::new(false);
    match script.u8() % 12 {
        0..=4 => {
            let answer = Answer::new(script);
            // A longer used length than was written makes the driver believe its own zeros; held
            // commands are answered together with a later one.
            let honest = answer.length_error == 0 && answer.id_error == 0 && answer.step == 1 && !answer.hold;
            let honest = honest && driver.channel().counts().get(QueueCounter::Quarantined) == 0;
            // Not what was meant for a command that was never sent.
            device.forget_answers();
            device.expect(answer);
            read(device, driver, script.u8(), script.width(), honest);
        }
        5 => {
            device.expect(Answer::new(script));
            device.expect(Answer::new(script));
            let _ = driver.negotiate_commands(&wait(&cancelled));
        }
        6 => {
            device.expect(Answer::new(script));
            let member = NonZeroU16::new(script.u16()).unwrap_or(NonZeroU16::MIN);
            let function = driver.function().as_ref();
            let addresses = driver.notify_info(member, function, &wait(&cancelled));
            assert!(addresses.map_or(0, |found| found.len()) <= 4);
        }
        7 => {
            device.expect(Answer::new(script));
            let registers = AdminRegisters::new(driver.channel(), NonZeroU16::MIN, None);
            let (area, offset) = (if script.flag() { Area::Device } else { Area::Common }, script.u8());
            let _ = registers.write(area, offset, script.width(), script.u32(), &wait(&cancelled));
        }
        8 => {
            let (at, count) = (script.u16(), usize::from(script.u8() % 32));
            device.scribble(at, script.take(count));
        }
        9 => device.lie(script.u8(), script.u8()),
        10 => drop(driver.enable_vfs(script.u16())),
        _ => {
            if script.u8() == 0 {
                device.vanish();
            }
            let _ = driver.channel().check_device();
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut script = Script::new(input);
    let device = HostilePf::new(&mut script);
    let started = PfDriver::start(device.clone(), Instant::now() + DEADLINE);
    device.behave();
    let Ok(driver) = started else { return };
    for _ in 0..COMMANDS {
        if script.is_empty() {
            break;
        }
        step(&device, &driver, &mut script);
    }
    let stats = driver.channel().counts();
    assert!(stats.get(QueueCounter::Quarantined) <= driver.channel().slots() as u64);
    assert!(stats.get(QueueCounter::Abandoned) <= stats.get(QueueCounter::Submitted));
    device.behave();
    drop(driver);
});
