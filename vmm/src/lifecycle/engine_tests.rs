// SPDX-License-Identifier: Apache-2.0
//! The engine with real machines on /dev/kvm and guests of a few instructions.
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Instant;

use super::super::test_engine::*;
use super::*;
use crate::config::Disk;
use crate::lifecycle::test_pf::ServedPf;

/// A pause has its own limit; this is that, and what a busy machine adds.
const PAUSE_BOUND: Duration = Duration::from_secs(4);

#[test]
fn a_life_in_all_states_with_an_event_for_each_step() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let mut events = control.events().subscribe();
    assert_eq!(control.state(), VmState::NotCreated);
    control.create(engine.config(SPIN)).unwrap();
    assert_eq!(control.state(), VmState::Created);
    control.boot().unwrap();
    assert_eq!(control.state(), VmState::Running);
    control.pause().unwrap();
    assert_eq!(control.state(), VmState::Paused);
    control.resume().unwrap();
    control.reboot().unwrap();
    assert_eq!(control.state(), VmState::Running);
    control.shutdown().unwrap();
    assert_eq!(control.state(), VmState::Shutdown);
    assert_eq!(control.info().unwrap().ended_by.as_deref(), Some("shut down by request"));
    control.boot().unwrap();
    control.delete().unwrap();
    control.delete().unwrap();
    assert_eq!(control.state(), VmState::NotCreated);
    let expected = [
        "created", "booting", "booted", "paused", "resumed", "booting", "booted", "shutdown", "booting", "booted",
        "shutdown", "deleted",
    ];
    assert_eq!(names(&mut events), expected);
    let control = control.clone();
    assert!(matches!(engine.end(), Ended::Requested));
    assert_eq!(control.info().unwrap_err().category, Category::ShuttingDown);
    assert!(matches!(events.next(LIMIT), crate::lifecycle::Next::Event(event) if event.kind == EventKind::VmmShutdown));
    assert!(matches!(events.next(LIMIT), crate::lifecycle::Next::Closed));
}

/// Asks for `operation`, in words that are right wherever the state allows it.
fn attempt(engine: &TestEngine, operation: Operation) -> Result<(), LifecycleError> {
    let control = &engine.control;
    match operation {
        Operation::Create => control.create(engine.config(SPIN)),
        Operation::Boot => control.boot(),
        Operation::Shutdown => control.shutdown(),
        Operation::Reboot => control.reboot(),
        Operation::PowerButton => control.power_button(),
        Operation::Pause => control.pause(),
        Operation::Resume => control.resume(),
        Operation::Delete => control.delete(),
        Operation::Info => control.info().map(drop),
        Operation::Counters => control.counters().map(drop),
        Operation::Legacy => control.legacy(None).map(drop),
        Operation::AddDevice => control.add_device(net("")).map(drop),
        Operation::RemoveDevice => control.remove_device("net0"),
    }
}

fn bring_to(engine: &TestEngine, state: VmState) {
    engine.control.delete().unwrap();
    let steps: &[Operation] = match state {
        VmState::NotCreated => &[],
        VmState::Created => &[Operation::Create],
        VmState::Running => &[Operation::Create, Operation::Boot],
        VmState::Paused => &[Operation::Create, Operation::Boot, Operation::Pause],
        VmState::Shutdown => &[Operation::Create, Operation::Boot, Operation::Shutdown],
    };
    steps.iter().for_each(|step| attempt(engine, *step).unwrap());
    assert_eq!(engine.control.state(), state);
}

#[test]
fn every_operation_in_every_state_does_what_the_table_says() {
    let Some(engine) = TestEngine::start() else { return };
    for state in VmState::ALL {
        for operation in Operation::ALL {
            bring_to(&engine, state);
            let outcome = attempt(&engine, operation);
            match operation.after(state) {
                Ok(after) => {
                    assert_eq!(outcome, Ok(()), "{operation} in {state}");
                    assert_eq!(engine.control.state(), after, "{operation} in {state}");
                }
                Err(refusal) => {
                    assert_eq!(outcome, Err(LifecycleError::refused(operation, refusal)));
                    assert_eq!(engine.control.state(), state, "a refused operation changes nothing");
                }
            }
        }
    }
}

#[test]
fn a_paused_guest_under_load_does_nothing_and_goes_on_where_it_was() {
    let Some(engine) = TestEngine::start() else { return };
    engine.create_and_boot(READ_STATUS);
    for _ in 0..5 {
        let before = engine.reads();
        wait_until(|| engine.reads() > before + 100);
        engine.control.pause().unwrap();
        let counters = engine.control.counters().unwrap();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(engine.control.counters().unwrap(), counters);
        engine.control.resume().unwrap();
    }
    let before = engine.reads();
    wait_until(|| engine.reads() > before);
    let errors = engine.control.counters().unwrap()["net0"]
        .iter()
        .filter(|(n, _)| n.starts_with("errors"))
        .map(|(_, n)| *n)
        .sum::<u64>();
    assert_eq!(errors, 0);
}

/// A guest whose only processor waits for a PF that does not answer, and may do so for a minute.
fn stuck_in_an_access(engine: &TestEngine) -> ServedPf {
    let pf = ServedPf::start();
    let mut config = engine.config(READ_STATUS);
    config.legacy_virtio = vec![pf.net0(r#""deadline_ms":60000"#)];
    engine.control.create(config).unwrap();
    engine.control.boot().unwrap();
    wait_until(|| engine.reads() > 10);
    pf.go_deaf();
    wait_until(|| pf.has_missed());
    pf
}

#[test]
fn a_pause_while_the_pf_is_dead_returns_in_time_and_faults_nothing() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let pf = stuck_in_an_access(&engine);
    let start = Instant::now();
    control.pause().unwrap();
    assert!(start.elapsed() < PAUSE_BOUND, "took {:?}", start.elapsed());
    assert_eq!(control.state(), VmState::Paused);
    let start = Instant::now();
    let legacy = control.legacy(None).unwrap();
    assert!(legacy[0].details.registers.is_none(), "the access still holds them");
    assert!(control.info().is_ok() && control.metrics().is_ok());
    assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());

    // The PF answers during the pause: the access ends, but the guest does not go on.
    pf.hear_again();
    wait_until(|| control.legacy(None).unwrap()[0].details.registers.is_some());
    let reads = engine.reads();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(engine.reads(), reads);
    control.resume().unwrap();
    wait_until(|| engine.reads() > reads + 10);
    let legacy = control.legacy(Some("net0")).unwrap();
    assert_eq!((legacy[0].details.times_faulted, &legacy[0].details.section.device.faulted), (0, &None));
    let errors = &legacy[0].details.section.device.errors;
    assert_eq!((errors.timeout, errors.cancelled), (0, 0));
}

#[test]
fn a_machine_whose_pf_is_dead_is_shut_down_and_resumed_in_time() {
    let Some(engine) = TestEngine::start() else { return };
    let _pf = stuck_in_an_access(&engine);
    let start = Instant::now();
    engine.control.pause().unwrap();
    engine.control.resume().unwrap();
    assert_eq!(engine.control.state(), VmState::Running);
    engine.control.shutdown().unwrap();
    assert!(start.elapsed() < PAUSE_BOUND + Duration::from_secs(4), "took {:?}", start.elapsed());
    assert_eq!(engine.control.state(), VmState::Shutdown);
}

#[test]
fn faults_and_the_loss_of_the_pf_are_events() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let pf = ServedPf::start();
    let mut events = control.events().subscribe();
    let mut config = engine.config(READ_STATUS);
    config.legacy_virtio = vec![pf.net0(r#""deadline_ms":50"#)];
    control.create(config).unwrap();
    control.boot().unwrap();
    pf.go_deaf();
    let EventKind::DeviceFaulted { id, reason } = wait_for_event(&mut events, "faulted") else { panic!() };
    assert_eq!(id, "net0");
    assert!(reason.contains("deadline"), "{reason}");
    assert_eq!(control.legacy(None).unwrap()[0].details.last_fault, Some(reason));
    pf.hear_again();
    pf.reset();
    let name = pf.name();
    let EventKind::PfLost { pf, .. } = wait_for_event(&mut events, "lost") else { panic!() };
    assert_eq!(pf, name);
    wait_for_event(&mut events, "returned");
    for line in [
        "heirloom_device_faults_total 1".to_owned(),
        "heirloom_pf_losses_total 1".to_owned(),
        "heirloom_pf_restarts_total 1".to_owned(),
        format!(r#"heirloom_pf_up{{pf="{name}"}} 1"#),
        format!(r#"heirloom_pf_machine_losses_total{{pf="{name}"}} 1"#),
    ] {
        // The thread that starts the PF over notes that after all have been told.
        wait_until(|| control.metrics().unwrap().lines().any(|l| l == line));
    }
}

#[test]
fn a_guest_that_switches_off_leaves_a_machine_that_boots_again() {
    let Some(engine) = TestEngine::start() else { return };
    let mut events = engine.control.events().subscribe();
    engine.create_and_boot(POWER_OFF);
    engine.wait_for(VmState::Shutdown);
    assert_eq!(engine.control.info().unwrap().ended_by.as_deref(), Some("the guest powered itself off"));
    engine.control.boot().unwrap();
    engine.wait_for(VmState::Shutdown);
    let expected =
        ["created", "booting", "booted", "power_off", "shutdown", "booting", "booted", "power_off", "shutdown"];
    wait_until(|| engine.control.events().published() == expected.len() as u64);
    assert_eq!(names(&mut events), expected);
}

#[test]
fn a_guest_that_resets_gets_new_machines_until_it_is_switched_off() {
    let Some(engine) = TestEngine::start() else { return };
    let mut events = engine.control.events().subscribe();
    engine.create_and_boot(RESET);
    for _ in 0..3 {
        wait_for_event(&mut events, "reset");
        wait_for_event(&mut events, "booted");
    }
    engine.control.delete().unwrap();
    assert_eq!(engine.control.state(), VmState::NotCreated);
}

#[test]
fn a_crash_is_an_event_with_a_reason() {
    let Some(engine) = TestEngine::start() else { return };
    let mut events = engine.control.events().subscribe();
    engine.create_and_boot(CRASH);
    engine.wait_for(VmState::Shutdown);
    let EventKind::Crashed { reason } = wait_for_event(&mut events, "crashed") else { panic!() };
    assert!(!reason.is_empty());
    assert!(engine.control.info().unwrap().ended_by.unwrap().contains(&reason));
}

#[test]
fn a_guest_that_polls_sees_the_power_button() {
    let code: &[&[u8]] = &[
        &[0xba, 2, 6, 0, 0, 0x66, 0xb8, 0, 1, 0x66, 0xef], // mov edx, 0x602; mov ax, 0x100; out dx, ax
        &[0xba, 0, 6, 0, 0, 0x66, 0xed, 0xf6, 0xc4, 1, 0x74, 0xf9], // mov edx, 0x600; in ax, dx; test ah, 1; jz
        POWER_OFF,
    ];
    let Some(engine) = TestEngine::start() else { return };
    engine.create_and_boot(&code.concat());
    thread::sleep(Duration::from_millis(100));
    assert_eq!(engine.control.state(), VmState::Running);
    engine.control.power_button().unwrap();
    engine.wait_for(VmState::Shutdown);
    assert_eq!(engine.control.info().unwrap().ended_by.as_deref(), Some("the guest powered itself off"));
}

#[test]
fn devices_come_and_go_while_the_machine_is_off_and_keep_their_names() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    control.create(engine.config(SPIN)).unwrap();
    assert_eq!(control.add_device(net("")).unwrap(), "net1");
    assert_eq!(control.add_device(net(r#""id":"lan""#)).unwrap(), "lan");
    let again = control.add_device(net(r#""id":"lan""#)).unwrap_err();
    assert_eq!(again.category, Category::DuplicateId);
    control.remove_device("net0").unwrap();
    assert_eq!(control.remove_device("net0").unwrap_err().category, Category::DeviceNotFound);
    assert!(control.info().unwrap().device_tree.values().all(|node| node.pci_bdf.is_none()));
    control.boot().unwrap();
    let places: Vec<_> =
        control.info().unwrap().device_tree.into_values().map(|n| (n.id, n.pci_bdf.unwrap())).collect();
    assert_eq!(places, [("lan".into(), "0000:00:02.0".into()), ("net1".into(), "0000:00:01.0".to_owned())]);
    assert_eq!(control.legacy(Some("lan")).unwrap()[0].pci_bdf, "0000:00:02.0");
    assert_eq!(control.legacy(Some("net0")).unwrap_err().category, Category::DeviceNotFound);
    control.shutdown().unwrap();
    control.remove_device("net1").unwrap();
    assert_eq!(control.add_device(net("")).unwrap(), "net1", "a free name, and a free address");
    control.boot().unwrap();
    assert_eq!(control.info().unwrap().config.legacy_virtio.len(), 2);
}

#[test]
fn a_machine_that_is_off_holds_no_lock_and_one_that_cannot_boot_says_why() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let disk = engine.file("disk.img", &[0; 4096]);
    let mut config = engine.config(SPIN);
    let blk = format!(r#"{{"soft":{{"blk":{{"file":{:?}}}}}}}"#, disk);
    config.legacy_virtio.push(serde_json::from_str(&blk).unwrap());
    control.create(config).unwrap();
    assert!(Disk::open(&disk, false).is_err(), "created: it will want its disk");
    control.add_device(net("")).unwrap();
    assert!(Disk::open(&disk, false).is_err());
    control.boot().unwrap();
    assert!(Disk::open(&disk, false).is_err());
    control.shutdown().unwrap();
    let other = Disk::open(&disk, false).expect("shut down: anybody may have it");
    let error = control.boot().unwrap_err();
    assert_eq!(error.category, Category::FileUnusable, "{error}");
    assert_eq!(control.state(), VmState::Shutdown);
    drop(other);
    control.boot().unwrap();
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let wrong = |change: fn(&mut VmConfig)| {
        let mut config = engine.config(SPIN);
        change(&mut config);
        let error = control.create(config).unwrap_err();
        assert_eq!(control.state(), VmState::NotCreated);
        (error.category, error.field.unwrap())
    };
    assert_eq!(wrong(|c| c.memory.size = 1), (Category::InvalidConfig, "memory.size".into()));
    assert_eq!(wrong(|c| c.cpus.boot_vcpus = 0), (Category::InvalidConfig, "cpus.boot_vcpus".into()));
    assert_eq!(
        wrong(|c| c.payload.kernel = Some("/nonexistent".into())),
        (Category::FileUnusable, "payload.kernel".into())
    );
    assert_eq!(wrong(|c| c.payload.initramfs = Some("/".into())), (Category::FileUnusable, "payload.initramfs".into()));
    let mut config = engine.config(SPIN);
    config.payload.kernel = Some(engine.file("no-kernel", b"no kernel at all"));
    control.create(config).unwrap();
    let error = control.boot().unwrap_err();
    assert_eq!((error.category, error.field.as_deref()), (Category::FileUnusable, Some("payload.kernel")));
    assert!(!error.causes.is_empty());
    assert_eq!(control.state(), VmState::Created, "it can be tried again, or deleted");
}

#[test]
fn a_crowd_of_clients_gets_answers_or_refusals_and_the_engine_lives() {
    let Some(engine) = TestEngine::start() else { return };
    engine.create_and_boot(READ_STATUS);
    thread::scope(|scope| {
        for client in 0..8 {
            let control = engine.control.clone();
            scope.spawn(move || {
                for turn in 0..40 {
                    let outcome = match (client + turn) % 5 {
                        0 => control.pause(),
                        1 => control.resume(),
                        2 => control.counters().map(drop),
                        3 => control.legacy(None).map(drop),
                        _ => control.info().map(drop),
                    };
                    let refused = outcome.is_err_and(|e| !matches!(e.category, Category::WrongState | Category::Busy));
                    assert!(!refused);
                }
            });
        }
    });
    let _ = engine.control.resume();
    let before = engine.reads();
    wait_until(|| engine.reads() > before);
}

#[test]
fn a_card_on_a_descriptor_keeps_it_over_boots_until_it_is_removed() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let card = |id: &str, fd: u32| {
        let text = format!(r#"{{"id":"{id}","soft":{{"net":{{"backend":{{"fd":{fd}}}}}}}}}"#);
        serde_json::from_str::<api::LegacyVirtioConfig>(&text).unwrap()
    };
    let (frames, peer) = UnixDatagram::pair().unwrap();
    let mut config = engine.config(SPIN);
    config.legacy_virtio = vec![card("one", 0)];
    assert_eq!(control.create(config.clone()).unwrap_err().category, Category::InvalidConfig);
    control.create_with(config, vec![frames.into()]).unwrap();
    for _ in 0..2 {
        control.boot().unwrap();
        assert_eq!(peer.send(&[0; 60]).unwrap(), 60, "the machine has the other end");
        control.shutdown().unwrap();
    }
    let (more, other) = UnixDatagram::pair().unwrap();
    control.add_device_with(card("two", 0), vec![more.into()]).unwrap();
    let config = control.info().unwrap().config;
    let added = serde_json::to_string(&config.legacy_virtio[1]).unwrap();
    assert!(added.contains(r#"{"fd":1}"#), "it has a number of its own: {added}");
    control.remove_device("one").unwrap();
    assert!(peer.send(&[0; 60]).is_err(), "closed");
    assert_eq!(other.send(&[0; 60]).unwrap(), 60);
    control.delete().unwrap();
    assert!(other.send(&[0; 60]).is_err());
}
