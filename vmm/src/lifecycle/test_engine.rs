// SPDX-License-Identifier: Apache-2.0
//! For tests: an engine on a thread of its own, and guests of a few instructions in an ELF file.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use api::operations::{Boot, Counters, Create, VmmShutdown};
use api::{
    ConsoleConfig, ConsoleMode, CpuProfile, CpusConfig, LegacyVirtioConfig, MemoryConfig, PayloadConfig, ScreenConfig,
    ScreenMode, SmbiosConfig, VmConfig, VmState,
};
use tempfile::TempDir;

use super::*;
use crate::machine::SetupError;

pub(crate) const LIMIT: Duration = devices::contract::mock::PATIENCE;

/// jmp $
pub(crate) const SPIN: &[u8] = &[0xeb, 0xfe];
/// mov edx, 0x604; mov ax, 0x3400; out dx, ax; jmp $
pub(crate) const POWER_OFF: &[u8] = &[0xba, 4, 6, 0, 0, 0x66, 0xb8, 0, 0x34, 0x66, 0xef, 0xeb, 0xfe];
/// mov edx, 0xcf9; mov al, 6; out dx, al; jmp $
pub(crate) const RESET: &[u8] = &[0xba, 0xf9, 0x0c, 0, 0, 0xb0, 6, 0xee, 0xeb, 0xfe];
/// mov eax, 0xd0000000; jmp eax
pub(crate) const CRASH: &[u8] = &[0xb8, 0, 0, 0, 0xd0, 0xff, 0xe0];
/// mov edx, 0xc012; in al, dx; jmp back: reads the status of the device in slot 1 for ever
pub(crate) const READ_STATUS: &[u8] = &[0xba, 0x12, 0xc0, 0, 0, 0xec, 0xeb, 0xfd];

/// A running engine.
pub(crate) struct TestEngine {
    pub(crate) control: Control,
    pub(crate) dir: TempDir,
    thread: Option<JoinHandle<Result<Ended, SetupError>>>,
}

impl TestEngine {
    /// `None` after saying that the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(EngineOptions::default())
    }

    /// As [`Self::start`].
    pub(crate) fn start_with(options: EngineOptions) -> Option<Self> {
        crate::kvm::test_guest::vm()?;
        let (send, receive) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut engine = Engine::new(options, EventBus::new()).unwrap();
            send.send(engine.control()).unwrap();
            engine.run()
        });
        let control = receive.recv().unwrap();
        Some(Self { control, dir: TempDir::new().unwrap(), thread: Some(thread) })
    }

    /// The configuration of a guest with this code, and one network card whose reads are all commands.
    pub(crate) fn config(&self, code: &[u8]) -> VmConfig {
        let kernel = self.dir.path().join("kernel");
        fs::write(&kernel, elf(code)).unwrap();
        VmConfig {
            payload: PayloadConfig { kernel: Some(kernel), ..PayloadConfig::default() },
            cpus: CpusConfig { boot_vcpus: 1, profile: CpuProfile::Legacy },
            memory: MemoryConfig { size: 16 << 20, ..MemoryConfig::default() },
            serial: ConsoleConfig { mode: ConsoleMode::Off, file: None },
            devices: Vec::new(),
            smbios: SmbiosConfig::default(),
            rtc: Default::default(),
            screen: ScreenConfig { mode: ScreenMode::On },
            legacy_virtio: vec![net("")],
        }
    }

    pub(crate) fn create_and_boot(&self, code: &[u8]) {
        self.control.ask(Create::from(self.config(code))).unwrap();
        self.control.ask(Boot).unwrap();
    }

    /// Waits until the guest has brought about this state.
    pub(crate) fn wait_for(&self, state: VmState) {
        wait_until(|| self.control.state() == state);
    }

    /// Register reads of the guest so far.
    pub(crate) fn reads(&self) -> u64 {
        self.control.ask(Counters).unwrap().0["net0"]["reads"]
    }

    /// A file in the test's folder.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// How it ended by itself.
    pub(crate) fn ended(mut self) -> Ended {
        self.thread.take().unwrap().join().unwrap().unwrap()
    }

    /// Ends it as a client does.
    pub(crate) fn end(mut self) -> Ended {
        self.control.ask(VmmShutdown).unwrap();
        self.thread.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.control.ask(VmmShutdown);
            let ended = thread.join();
            assert!(thread::panicking() || ended.unwrap().is_ok());
        }
    }
}

/// Fails if `done` does not come true.
pub(crate) fn wait_until(done: impl Fn() -> bool) {
    devices::contract::mock::wait_until("it comes about", done);
}

/// A network card; `keys` such as `"deadline_ms":50`.
pub(crate) fn net(keys: &str) -> LegacyVirtioConfig {
    let comma = if keys.is_empty() { "" } else { "," };
    let text = format!(r#"{{"soft":{{"net":{{"backend":"loopback"}}}},"shadow":false{comma}{keys}}}"#);
    serde_json::from_str(&text).unwrap()
}

/// Names of the events so far.
pub(crate) fn names(subscription: &mut Subscription) -> Vec<&'static str> {
    std::iter::from_fn(|| match subscription.next(Duration::ZERO) {
        Next::Event(event) => Some(event.kind.name()),
        _ => None,
    })
    .collect()
}

/// Waits for an event of this name.
pub(crate) fn wait_for_event(subscription: &mut Subscription, name: &str) -> EventKind {
    devices::contract::mock::eventually(name, || match subscription.next(Duration::from_millis(100)) {
        Next::Event(event) if event.kind.name() == name => Some(event.kind.clone()),
        _ => None,
    })
}

/// A 32-bit ELF kernel with `code` at its protected-mode entry, 1 MiB.
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u32 = 0x10_0000;
    let mut file = b"\x7fELF\x01\x01\x01".to_vec();
    file.resize(16, 0);
    let size = code.len() as u32;
    file.extend([2u16, 3].into_iter().flat_map(u16::to_le_bytes));
    file.extend([1u32, BASE, 52, 0, 0].into_iter().flat_map(u32::to_le_bytes));
    file.extend([52u16, 32, 1, 0, 0, 0].into_iter().flat_map(u16::to_le_bytes));
    file.extend([1u32, 84, BASE, BASE, size, size, 7, 0].into_iter().flat_map(u32::to_le_bytes));
    assert_eq!(file.len(), 84);
    file.extend(code);
    file
}
