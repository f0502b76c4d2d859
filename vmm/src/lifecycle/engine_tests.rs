// SPDX-License-Identifier: Apache-2.0
//! The engine with real machines on /dev/kvm and guests of a few instructions.
use std::os::unix::net::UnixDatagram;
use std::thread;

use api::operations::*;

use super::super::test_engine::*;
use super::*;
use crate::config::Disk;
use crate::lifecycle::test_pf::ServedPf;
use devices::contract::mock::give_it_time;

#[test]
fn a_life_in_all_states_with_an_event_for_each_step() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let mut events = control.events().subscribe();
    assert_eq!(control.state(), VmState::NotCreated);
    control.ask(Create::from(engine.config(SPIN))).unwrap();
    assert_eq!(control.state(), VmState::Created);
    control.ask(Boot).unwrap();
    assert_eq!(control.state(), VmState::Running);
    control.ask(Pause::default()).unwrap();
    assert_eq!(control.state(), VmState::Paused);
    control.ask(Resume).unwrap();
    control.ask(Reboot).unwrap();
    assert_eq!(control.state(), VmState::Running);
    control.ask(Shutdown).unwrap();
    assert_eq!(control.state(), VmState::Shutdown);
    assert_eq!(control.ask(Info).unwrap().ended_by.as_deref(), Some("shut down by request"));
    control.ask(Boot).unwrap();
    control.ask(Delete).unwrap();
    control.ask(Delete).unwrap();
    assert_eq!(control.state(), VmState::NotCreated);
    let expected = [
        "created", "booting", "booted", "paused", "resumed", "booting", "booted", "shutdown", "booting", "booted",
        "shutdown", "deleted",
    ];
    assert_eq!(names(&mut events), expected);
    let control = control.clone();
    assert!(matches!(engine.end(), Ended::Requested));
    assert_eq!(control.ask(Info).unwrap_err().code, Code::Unavailable);
    assert!(matches!(events.next(LIMIT), crate::lifecycle::Next::Event(event) if event.kind == EventKind::VmmShutdown));
    assert!(matches!(events.next(LIMIT), crate::lifecycle::Next::Closed));
}

#[test]
fn a_paused_guest_under_load_does_nothing_and_goes_on_where_it_was() {
    let Some(engine) = TestEngine::start() else { return };
    engine.create_and_boot(READ_STATUS);
    for _ in 0..5 {
        let before = engine.reads();
        wait_until(|| engine.reads() > before + 100);
        engine.control.ask(Pause::default()).unwrap();
        let counters = engine.control.ask(Counters).unwrap();
        give_it_time(Duration::from_millis(100));
        assert_eq!(engine.control.ask(Counters).unwrap(), counters);
        engine.control.ask(Resume).unwrap();
    }
    let before = engine.reads();
    wait_until(|| engine.reads() > before);
    let errors = engine.control.ask(Counters).unwrap().0["net0"]
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
    engine.control.ask(Create::from(config)).unwrap();
    engine.control.ask(Boot).unwrap();
    wait_until(|| engine.reads() > 10);
    pf.hang();
    wait_until(|| pf.has_missed());
    pf
}

#[test]
fn a_pause_while_the_pf_is_dead_returns_in_time_and_faults_nothing() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let pf = stuck_in_an_access(&engine);
    control.ask(Pause::default()).unwrap();
    assert_eq!(control.state(), VmState::Paused);
    let legacy = control.ask(Legacy::default()).unwrap();
    assert!(legacy[0].registers.is_none(), "the access still holds them");
    assert!(control.ask(Info).is_ok() && control.ask(Metrics).is_ok());

    // The PF answers during the pause: the access ends, but the guest does not go on.
    pf.recover();
    wait_until(|| control.ask(Legacy::default()).unwrap()[0].registers.is_some());
    let reads = engine.reads();
    give_it_time(Duration::from_millis(100));
    assert_eq!(engine.reads(), reads);
    control.ask(Resume).unwrap();
    wait_until(|| engine.reads() > reads + 10);
    let legacy = control.ask(Legacy { id: Some("net0".into()) }).unwrap();
    assert_eq!((legacy[0].times_faulted, &legacy[0].faulted), (0, &None), "nobody waited for the PF's deadline");
    let errors = &legacy[0].errors;
    assert_eq!((errors["timeout"], errors["cancelled"]), (0, 0));
}

/// The PF's watchdog reads a register each second, and the server may take 5 s for each without being given up.
#[test]
fn a3_a_stopped_pf_server_holds_no_request_up() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let pf = ServedPf::start();
    let mut config = engine.config(SPIN);
    config.legacy_virtio = vec![pf.net0(r#""deadline_ms":500"#)];
    control.ask(Create::from(config)).unwrap();
    control.ask(Boot).unwrap();
    for _ in 0..2 {
        pf.stall();
        wait_until(|| pf.keeps_somebody_waiting());
        let answered = (control.ask(Info).is_ok(), control.ask(Counters).is_ok(), control.ask(Metrics).is_ok());
        let waited = pf.keeps_somebody_waiting();
        pf.go_on();
        assert_eq!(answered, (true, true, true));
        assert!(waited, "all the time");
        wait_until(|| !pf.keeps_somebody_waiting());
    }
    let legacy = control.ask(Legacy::default()).unwrap();
    assert_eq!((legacy[0].times_faulted, &legacy[0].faulted), (0, &None));
}

#[test]
fn a_machine_whose_pf_is_dead_is_shut_down_and_resumed_in_time() {
    let Some(engine) = TestEngine::start() else { return };
    let _pf = stuck_in_an_access(&engine);
    let mut events = engine.control.events().subscribe();
    engine.control.ask(Pause::default()).unwrap();
    engine.control.ask(Resume).unwrap();
    assert_eq!(engine.control.state(), VmState::Running);
    engine.control.ask(Shutdown).unwrap();
    assert_eq!(engine.control.state(), VmState::Shutdown);
    let told = names(&mut events);
    assert!(told.contains(&"shutdown") && !told.contains(&"faulted"), "before the PF's deadline: {told:?}");
}

#[test]
fn faults_and_the_loss_of_the_pf_are_events() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let pf = ServedPf::start();
    let mut events = control.events().subscribe();
    let mut config = engine.config(READ_STATUS);
    config.legacy_virtio = vec![pf.net0(r#""deadline_ms":50"#)];
    control.ask(Create::from(config)).unwrap();
    control.ask(Boot).unwrap();
    pf.hang();
    let EventKind::DeviceFaulted { id, reason } = wait_for_event(&mut events, "faulted") else { panic!() };
    assert_eq!(id, "net0");
    assert!(reason.contains("deadline"), "{reason}");
    assert_eq!(control.ask(Legacy::default()).unwrap()[0].last_fault, Some(reason));
    pf.recover();
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
        wait_until(|| control.ask(Metrics).unwrap().0.lines().any(|l| l == line));
    }
}

#[test]
fn a_guest_that_switches_off_leaves_a_machine_that_boots_again() {
    let Some(engine) = TestEngine::start() else { return };
    let mut events = engine.control.events().subscribe();
    engine.create_and_boot(POWER_OFF);
    engine.wait_for(VmState::Shutdown);
    assert_eq!(engine.control.ask(Info).unwrap().ended_by.as_deref(), Some("the guest powered itself off"));
    engine.control.ask(Boot).unwrap();
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
    engine.control.ask(Delete).unwrap();
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
    assert!(engine.control.ask(Info).unwrap().ended_by.unwrap().contains(&reason));
}

/// What a guest printed last is there when it is gone, whether it crashed or not.
#[test]
fn the_last_screen_stays() {
    // mov dword [0xb8000], "o", "h" in white on blue; then the cursor behind it
    let text: &[u8] = &[0xc7, 0x04, 0x25, 0, 0x80, 0x0b, 0, b'o', 0x1f, b'h', 0x1f];
    let cursor: &[u8] = &[0xba, 0xd4, 3, 0, 0, 0x66, 0xb8, 0x0f, 2, 0x66, 0xef]; // mov edx, 0x3d4; mov ax, 0x20f; out
    let Some(engine) = TestEngine::start() else { return };
    engine.create_and_boot(&[text, cursor, CRASH].concat());
    engine.wait_for(VmState::Shutdown);
    assert_eq!(engine.control.ask(Info).unwrap().last_screen, Some(vec!["oh".to_owned()]));
    let screen = engine.control.ask(Screen { attributes: true }).unwrap();
    assert_eq!((screen.lines.len(), screen.lines[0].as_str(), screen.columns), (25, "oh", 80));
    let cursor = screen.cursor.unwrap();
    assert_eq!((cursor.row, cursor.column, screen.attributes.unwrap()[0][..3].to_vec()), (0, 2, vec![0x1f, 0x1f, 0]));
}

#[test]
fn a_machine_without_a_screen_says_so() {
    let Some(engine) = TestEngine::start() else { return };
    let mut config = engine.config(SPIN);
    config.screen.mode = api::ScreenMode::Off;
    engine.control.ask(Create::from(config)).unwrap();
    engine.control.ask(Boot).unwrap();
    let missing = engine.control.ask(Screen { attributes: false }).unwrap_err();
    assert!(missing.to_string().contains("--vga on"), "{missing}");
    assert_eq!(engine.control.ask(Info).unwrap().last_screen, None);
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
    give_it_time(Duration::from_millis(100));
    assert_eq!(engine.control.state(), VmState::Running);
    engine.control.ask(PowerButton).unwrap();
    engine.wait_for(VmState::Shutdown);
    assert_eq!(engine.control.ask(Info).unwrap().ended_by.as_deref(), Some("the guest powered itself off"));
}

#[test]
fn devices_come_and_go_while_the_machine_is_off_and_keep_their_names() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    control.ask(Create::from(engine.config(SPIN))).unwrap();
    assert_eq!(control.ask(AddDevice::from(net(""))).unwrap().id, "net1");
    assert_eq!(control.ask(AddDevice::from(net(r#""id":"lan""#))).unwrap().id, "lan");
    let again = control.ask(AddDevice::from(net(r#""id":"lan""#))).unwrap_err();
    assert_eq!(again.code, Code::DuplicateId);
    control.ask(RemoveDevice { id: "net0".into() }).unwrap();
    assert_eq!(control.ask(RemoveDevice { id: "net0".into() }).unwrap_err().code, Code::DeviceNotFound);
    assert!(control.ask(Info).unwrap().device_tree.values().all(|node| node.pci_bdf.is_none()));
    control.ask(Boot).unwrap();
    let places: Vec<_> =
        control.ask(Info).unwrap().device_tree.into_values().map(|n| (n.id, n.pci_bdf.unwrap())).collect();
    assert_eq!(places, [("lan".into(), "0000:00:02.0".into()), ("net1".into(), "0000:00:01.0".to_owned())]);
    assert_eq!(control.ask(Legacy { id: Some("lan".into()) }).unwrap()[0].pci_bdf, "0000:00:02.0");
    assert_eq!(control.ask(Legacy { id: Some("net0".into()) }).unwrap_err().code, Code::DeviceNotFound);
    control.ask(Shutdown).unwrap();
    control.ask(RemoveDevice { id: "net1".into() }).unwrap();
    assert_eq!(control.ask(AddDevice::from(net(""))).unwrap().id, "net1", "a free name, and a free address");
    control.ask(Boot).unwrap();
    assert_eq!(control.ask(Info).unwrap().config.legacy_virtio.len(), 2);
}

#[test]
fn a_machine_that_is_off_holds_no_lock_and_one_that_cannot_boot_says_why() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let disk = engine.file("disk.img", &[0; 4096]);
    let mut config = engine.config(SPIN);
    let blk = format!(r#"{{"soft":{{"blk":{{"file":{:?}}}}}}}"#, disk);
    config.legacy_virtio.push(serde_json::from_str(&blk).unwrap());
    control.ask(Create::from(config)).unwrap();
    assert!(Disk::open(&disk, false).is_err(), "created: it will want its disk");
    control.ask(AddDevice::from(net(""))).unwrap();
    assert!(Disk::open(&disk, false).is_err());
    control.ask(Boot).unwrap();
    assert!(Disk::open(&disk, false).is_err());
    control.ask(Shutdown).unwrap();
    let other = Disk::open(&disk, false).expect("shut down: anybody may have it");
    let error = control.ask(Boot).unwrap_err();
    assert_eq!(error.code, Code::FileUnusable, "{error}");
    assert_eq!(control.state(), VmState::Shutdown);
    drop(other);
    control.ask(Boot).unwrap();
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let wrong = |change: fn(&mut VmConfig)| {
        let mut config = engine.config(SPIN);
        change(&mut config);
        let error = control.ask(Create::from(config)).unwrap_err();
        assert_eq!(control.state(), VmState::NotCreated);
        (error.code, error.field.unwrap())
    };
    assert_eq!(wrong(|c| c.memory.size = 1), (Code::InvalidConfig, "memory.size".into()));
    assert_eq!(wrong(|c| c.cpus.boot_vcpus = 0), (Code::InvalidConfig, "cpus.boot_vcpus".into()));
    assert_eq!(
        wrong(|c| c.payload.kernel = Some("/nonexistent".into())),
        (Code::FileUnusable, "payload.kernel".into())
    );
    assert_eq!(wrong(|c| c.payload.initramfs = Some("/".into())), (Code::FileUnusable, "payload.initramfs".into()));
    let mut config = engine.config(SPIN);
    config.payload.kernel = Some(engine.file("no-kernel", b"no kernel at all"));
    control.ask(Create::from(config)).unwrap();
    let error = control.ask(Boot).unwrap_err();
    assert_eq!((error.code, error.field.as_deref()), (Code::FileUnusable, Some("payload.kernel")));
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
                        0 => control.ask(Pause::default()),
                        1 => control.ask(Resume),
                        2 => control.ask(Counters).map(drop),
                        3 => control.ask(Legacy::default()).map(drop),
                        _ => control.ask(Info).map(drop),
                    };
                    let refused = outcome.is_err_and(|e| !matches!(e.code, Code::WrongState | Code::Busy));
                    assert!(!refused);
                }
            });
        }
    });
    let _ = engine.control.ask(Resume);
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
    assert_eq!(control.ask(Create::from(config.clone())).unwrap_err().code, Code::InvalidConfig);
    control.ask(Create { config, descriptors: vec![frames.into()] }).unwrap();
    for _ in 0..2 {
        control.ask(Boot).unwrap();
        assert_eq!(peer.send(&[0; 60]).unwrap(), 60, "the machine has the other end");
        control.ask(Shutdown).unwrap();
    }
    let (more, other) = UnixDatagram::pair().unwrap();
    control.ask(AddDevice { device: card("two", 0).into(), descriptors: vec![more.into()] }).unwrap();
    let config = control.ask(Info).unwrap().config;
    let added = serde_json::to_string(&config.legacy_virtio[1]).unwrap();
    assert!(added.contains(r#"{"fd":1}"#), "it has a number of its own: {added}");
    control.ask(RemoveDevice { id: "one".into() }).unwrap();
    assert!(peer.send(&[0; 60]).is_err(), "closed");
    assert_eq!(other.send(&[0; 60]).unwrap(), 60);
    control.ask(Delete).unwrap();
    assert!(other.send(&[0; 60]).is_err());
}

#[test]
fn f21_a_reset_loop_slows_down_is_counted_and_can_be_ended() {
    let Some(engine) = TestEngine::start() else { return };
    let control = &engine.control;
    let mut events = control.events().subscribe();
    engine.create_and_boot(RESET);
    assert_eq!(wait_for_event(&mut events, "reset_delayed"), EventKind::ResetDelayed { delay: "100ms".to_owned() });
    // The wait ends, and the next one is longer.
    assert_eq!(wait_for_event(&mut events, "reset_delayed"), EventKind::ResetDelayed { delay: "200ms".to_owned() });
    let text = control.ask(Metrics).unwrap().0;
    let delayed = text.lines().find_map(|line| line.strip_prefix("heirloom_delayed_resets_total ")).unwrap();
    assert!(delayed.parse::<u32>().unwrap() >= 2);
    // While it waits it takes requests.
    wait_for_event(&mut events, "reset_delayed");
    assert_eq!(control.state(), VmState::Running);
    control.ask(Shutdown).unwrap();
    assert_eq!(control.state(), VmState::Shutdown);
    control.ask(Boot).unwrap();
    assert!(matches!(wait_for_event(&mut events, "reset"), EventKind::GuestReset));
}

/// This test again, in a process of its own: its panics are everybody's.
#[test]
fn b9_a_panic_of_any_thread_ends_the_machine_in_order() {
    const HERE: &str = "HEIRLOOM_TEST_PANIC";
    if std::env::var_os(HERE).is_none() {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lifecycle::engine::tests::b9_a_panic_of_any_thread_ends_the_machine_in_order"])
            .arg("--nocapture")
            .env(HERE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        assert!(said.contains("SKIPPED") || said.contains("thread soft/vf0 panicked at "), "{said}");
        return;
    }
    crate::panics::watch();
    let options = EngineOptions {
        takes_signals: true,
        ends: crate::lifecycle::Ends { with_guest: true, at_reset: false },
        ..EngineOptions::default()
    };
    let Some(engine) = TestEngine::start_with(options) else { return };
    let mut events = engine.control.events().subscribe();
    engine.create_and_boot(SPIN);
    let worker = thread::Builder::new().name("soft/vf0".to_owned());
    assert!(worker.spawn(|| panic!("a mistake")).unwrap().join().is_err());
    let EventKind::Panicked { reason } = wait_for_event(&mut events, "panicked") else { panic!() };
    assert!(reason.starts_with("thread soft/vf0 panicked at ") && reason.ends_with(": a mistake"), "{reason}");
    assert!(matches!(wait_for_event(&mut events, "shutting_down"), EventKind::VmmShutdown));
    let ended = engine.ended();
    assert_eq!((ended.code(), ended.to_string()), (1, format!("heirloom failed: {reason}")));
}
