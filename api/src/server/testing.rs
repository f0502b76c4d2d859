// SPDX-License-Identifier: Apache-2.0
//! A monitor of states without a machine, and a client that writes bytes as they are given.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Limits, Server, Times};
use crate::operations::{
    AddDevice, AddedDevice, Counters, Create, Delete, Info, Legacy, Metrics, PrometheusText, RemoveDevice, Screen,
};
use crate::service::{Line, Lines, ProbeWhat, Service};
use crate::types::{DeviceNode, LegacyDevice, ProbeReport, VmCounters, VmInfo, VmScreen};
use crate::{Code, Fault, NewDevice, Operation, Serve, VmConfig, VmState};

/// A monitor that keeps a configuration and a state, and moves between states as a real one does.
pub(super) struct Model {
    pub inner: Mutex<Inner>,
    /// Operations that change something do not end as long as this is set.
    pub held: AtomicBool,
    /// Operations that are being carried out at this moment.
    pub busy: AtomicUsize,
    /// The next operation ends like this.
    pub next_fault: Mutex<Option<Fault>>,
    pub panics: AtomicBool,
}

pub(super) struct Inner {
    pub state: VmState,
    pub config: Option<VmConfig>,
    pub descriptors: Vec<OwnedFd>,
    pub calls: Vec<String>,
    pub probed: ProbeWhat,
}

impl Model {
    pub(super) fn new() -> Arc<Self> {
        let inner = Inner {
            state: VmState::NotCreated,
            config: None,
            descriptors: Vec::new(),
            calls: Vec::new(),
            probed: ProbeWhat::Host,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            held: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            next_fault: Mutex::default(),
            panics: AtomicBool::new(false),
        })
    }

    /// Puts the model into a state, with a small machine where there is one.
    pub(super) fn put(&self, state: VmState) {
        let mut inner = self.inner.lock().unwrap();
        inner.state = state;
        let config = serde_json::from_str(
            r#"{"payload": {"kernel": "k"}, "legacy_virtio": [{"id": "net0", "soft": {"net": {"backend": "loopback"}}}]}"#,
        );
        inner.config = (state != VmState::NotCreated).then(|| config.unwrap());
    }

    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().calls)
    }

    fn go(&self, call: &str, to: Option<VmState>) -> Result<(), Fault> {
        assert_eq!(self.busy.fetch_add(1, Ordering::SeqCst), 0, "two operations at a time");
        wait_until("it is let go", || !self.held.load(Ordering::SeqCst));
        let outcome = {
            let mut inner = self.inner.lock().unwrap();
            inner.calls.push(call.strip_prefix("vm.").unwrap_or(call).replace('.', "-"));
            match self.next_fault.lock().unwrap().take() {
                Some(fault) => Err(fault),
                None => {
                    inner.state = to.unwrap_or(inner.state);
                    Ok(())
                }
            }
        };
        self.busy.fetch_sub(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants it");
        outcome
    }

    fn note(&self, call: &str) {
        self.inner.lock().unwrap().calls.push(call.to_owned());
    }

    fn device(&self, id: &str) -> Result<(), Fault> {
        let inner = self.inner.lock().unwrap();
        let devices = inner.config.iter().flat_map(|config| &config.legacy_virtio);
        match devices.filter_map(|device| device.id.as_deref()).any(|known| known == id) {
            true => Ok(()),
            false => Err(Fault::new(Code::DeviceNotFound, format!("there is no device '{id}'"))),
        }
    }
}

impl Service for Model {
    fn state(&self) -> VmState {
        self.inner.lock().unwrap().state
    }

    fn host_probe(&self, what: &ProbeWhat) -> Result<ProbeReport, Fault> {
        self.note("probe");
        self.inner.lock().unwrap().probed = what.clone();
        Ok(ProbeReport { usable: true, checks: Vec::new() })
    }

    fn events(&self) -> Result<Box<dyn Lines>, Fault> {
        self.note("events");
        Ok(Box::new(Ticks(0)))
    }

    fn trace(&self, id: Option<&str>) -> Result<Box<dyn Lines>, Fault> {
        self.note("trace");
        id.map_or(Ok(()), |id| self.device(id))?;
        Ok(Box::new(Silence))
    }
}

/// Operations that answer nothing.
impl<O: Operation<Reply = ()>> Serve<O> for Model {
    fn serve(&self, operation: O) -> Result<(), Fault> {
        let name = O::ROUTE.name();
        let mut operation: Box<dyn Any> = Box::new(operation);
        if let Some(RemoveDevice { id }) = operation.downcast_ref() {
            self.device(id)?;
        }
        let after = match name {
            "vm.create" => Some(VmState::Created),
            "vm.boot" | "vm.resume" => Some(VmState::Running),
            "vm.shutdown" => Some(VmState::Shutdown),
            "vm.pause" => Some(VmState::Paused),
            "vm.delete" | "vmm.shutdown" => Some(VmState::NotCreated),
            _ => None,
        };
        self.go(name, after)?;
        let config = &mut self.inner.lock().unwrap();
        if let Some(create) = operation.downcast_mut::<Create>() {
            config.config = Some(create.config.clone());
            config.descriptors = std::mem::take(&mut create.descriptors);
        }
        match (operation.downcast_ref::<RemoveDevice>(), &mut config.config) {
            (Some(gone), Some(config)) => config.legacy_virtio.retain(|d| d.id.as_deref() != Some(&*gone.id)),
            _ if operation.is::<Delete>() => config.config = None,
            _ => {}
        }
        Ok(())
    }
}

impl Serve<AddDevice> for Model {
    fn serve(&self, AddDevice { device, .. }: AddDevice) -> Result<AddedDevice, Fault> {
        self.go(AddDevice::ROUTE.name(), None)?;
        let mut inner = self.inner.lock().unwrap();
        let config = inner.config.as_mut().unwrap();
        match device {
            NewDevice::LegacyVirtio(device) => config.legacy_virtio.push(device),
            NewDevice::PassedThrough(device) => config.devices.push(device),
        }
        Ok(AddedDevice { id: String::new(), bdf: None })
    }
}

impl Serve<Info> for Model {
    fn serve(&self, Info: Info) -> Result<VmInfo, Fault> {
        self.note("info");
        let inner = self.inner.lock().unwrap();
        let config = inner.config.clone().unwrap();
        let kind = "legacy_virtio".to_owned();
        let node = |id: &String| {
            let (id, kind) = (id.clone(), kind.clone());
            DeviceNode { id, kind, pci_bdf: None, slot: None, function: None, children: vec![], resources: vec![] }
        };
        let ids = config.legacy_virtio.iter().filter_map(|device| device.id.as_ref());
        let device_tree = ids.map(|id| (id.clone(), node(id))).collect();
        Ok(VmInfo {
            memory_actual_size: config.memory.size,
            config,
            state: inner.state,
            device_tree,
            ended_by: None,
            last_screen: None,
            sandbox: Default::default(),
        })
    }
}

impl Serve<Counters> for Model {
    fn serve(&self, Counters: Counters) -> Result<VmCounters, Fault> {
        self.note("counters");
        Ok(VmCounters(BTreeMap::from([("net0".to_owned(), BTreeMap::from([("reads".to_owned(), 7)]))])))
    }
}

impl Serve<Legacy> for Model {
    fn serve(&self, Legacy { id }: Legacy) -> Result<Vec<LegacyDevice>, Fault> {
        self.note("legacy");
        id.map_or(Ok(()), |id| self.device(&id))?;
        Ok(Vec::new())
    }
}

impl Serve<Screen> for Model {
    fn serve(&self, Screen { attributes }: Screen) -> Result<VmScreen, Fault> {
        self.note("screen");
        let attributes = attributes.then(|| vec![vec![7; 5]]);
        Ok(VmScreen { columns: 80, lines: vec!["boot:".to_owned()], attributes, ..VmScreen::default() })
    }
}

impl Serve<Metrics> for Model {
    fn serve(&self, Metrics: Metrics) -> Result<PrometheusText, Fault> {
        self.note("metrics");
        Ok(PrometheusText("heirloom_up 1\n".to_owned()))
    }
}

/// Numbers without an end.
struct Ticks(u64);

impl Lines for Ticks {
    fn next(&mut self, _: Duration) -> Line {
        self.0 += 1;
        Line::Text(format!(r#"{{"seq":{}}}"#, self.0))
    }
}

/// Nothing, for ever.
struct Silence;

impl Lines for Silence {
    fn next(&mut self, limit: Duration) -> Line {
        thread::sleep(limit); // Clock: silence takes that long.
        Line::Nothing
    }
}

/// A server over a [`Model`].
pub(super) struct Bench {
    pub model: Arc<Model>,
    pub path: PathBuf,
    pub server: Option<Server>,
    _folder: TempDir,
}

/// For tests that wait for the end of the server's patience with a client.
pub(super) fn quick() -> Limits {
    Limits { times: Times { patience: Duration::from_secs(1), operation: PATIENCE }, ..Limits::default() }
}

/// For all others: no time of the server's ends in a test that passes.
pub(super) fn patient() -> Limits {
    Limits { times: Times { patience: PATIENCE, operation: PATIENCE }, ..Limits::default() }
}

/// Longer than anything takes that works, on a machine however busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `done`.
pub(super) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5)); // Clock: between two looks.
    }
}

impl Bench {
    pub(super) fn new(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("api.sock");
        let model = Model::new();
        let server = Server::start(&path, model.clone(), limits, || {}).unwrap();
        Self { model, path, server: Some(server), _folder: folder }
    }

    pub(super) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// One request on a connection of its own.
    pub(super) fn ask(&self, method: &str, target: &str, body: &str) -> Answer {
        let mut stream = self.connect();
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        read_answer(&mut stream)
    }
}

/// A reply, taken apart.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub(super) fn fault(&self) -> Fault {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Reads exactly one reply; panics if the connection ends before.
pub(super) fn read_answer(stream: &mut UnixStream) -> Answer {
    try_read_answer(stream).expect("a reply")
}

/// Reads exactly one reply, or `None` at the end of the connection.
pub(super) fn try_read_answer(stream: &mut UnixStream) -> Option<Answer> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length =
        head.split("Content-Length: ").nth(1).map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(Answer { status, head, body: String::from_utf8(body).unwrap() })
}
