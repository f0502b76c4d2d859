// SPDX-License-Identifier: Apache-2.0
//! For tests: a software PF with one network card, served over vfio-user, that can hang. It takes commands then and answers
//! none until it recovers.

use std::sync::{Arc, Condvar, Mutex};

use api::LegacyVirtioConfig;
use devices::bus::Width;
use devices::contract::mock::{Between, Proxy};
use devices::function::vfio_user::Server;
use devices::function::{Lifetime as _, PciFunction, Result};
use devices::soft_pf::{HiddenConfig, NetBackend, SoftPf, VfSpec};
use tempfile::TempDir;

/// A write to a doorbell.
#[derive(Debug)]
struct Ring {
    bar: u8,
    offset: u64,
    width: Width,
    value: u64,
}

/// A PF and its VF behind sockets.
pub(crate) struct ServedPf {
    // In the order of their end.
    _servers: [Server; 2],
    pf: Arc<Proxy<HangingPf>>,
    _soft: SoftPf,
    dir: TempDir,
}

impl ServedPf {
    pub(crate) fn start() -> Self {
        let card = VfSpec::Net { backend: NetBackend::Loopback, mac: [2, 0, 0, 0, 0, 1] };
        let soft = SoftPf::new("served", vec![card]).unwrap();
        let pf = Proxy::new(HangingPf { pf: soft.pf(), missed: Mutex::default(), stall: Stall::default() });
        let dir = TempDir::new().unwrap();
        let serve =
            |name: &str, function| Server::spawn(function, Server::bind(&dir.path().join(name)).unwrap()).unwrap();
        let vf = soft.vf_slot(0, HiddenConfig::Readable).unwrap();
        let servers = [serve("vf.sock", vf), serve("pf.sock", Arc::clone(&pf) as _)];
        Self { _servers: servers, pf, _soft: soft, dir }
    }

    /// The network card as the device `net0`, all of whose reads are commands; `keys` such as `"deadline_ms":50`.
    pub(crate) fn net0(&self, keys: &str) -> LegacyVirtioConfig {
        let (vf, pf) = (self.dir.path().join("vf.sock"), self.name());
        let vf = format!(r#""id":"net0","vfio_user":{{"socket":{vf:?},"pf_socket":{pf:?},"member":1}}"#);
        serde_json::from_str(&format!(r#"{{{vf},"shadow":false,{keys}}}"#)).unwrap()
    }

    /// What reports and events call the PF.
    pub(crate) fn name(&self) -> String {
        self.dir.path().join("pf.sock").to_str().unwrap().to_owned()
    }

    pub(crate) fn hang(&self) {
        self.pf.missed.lock().unwrap().get_or_insert_default();
    }

    /// Carries out what came while it hung.
    pub(crate) fn recover(&self) {
        let missed = self.pf.missed.lock().unwrap().take().unwrap_or_default();
        for Ring { bar, offset, width, value } in missed {
            self.pf.pf.region_write(bar, offset, width, value).unwrap();
        }
    }

    /// Answers no read from now on, as a server that was stopped.
    pub(crate) fn stall(&self) {
        self.pf.stall.set(true);
    }

    /// Whether somebody waits for an answer.
    pub(crate) fn keeps_somebody_waiting(&self) -> bool {
        self.pf.stall.state.lock().unwrap().1 != 0
    }

    /// Answers all, and goes on.
    pub(crate) fn go_on(&self) {
        self.pf.stall.set(false);
    }

    /// Whether there were doorbells while it hung.
    pub(crate) fn has_missed(&self) -> bool {
        self.pf.missed.lock().unwrap().as_ref().is_some_and(|missed| !missed.is_empty())
    }

    /// Resets the PF behind its driver's back.
    pub(crate) fn reset(&self) {
        self.pf.reset().unwrap();
    }
}

#[derive(Debug)]
struct HangingPf {
    pf: Arc<dyn PciFunction>,
    /// Doorbells while it hangs; `None` while it works.
    missed: Mutex<Option<Vec<Ring>>>,
    stall: Stall,
}

/// While it lasts, no register is read: the one that is asked for is answered after it.
#[derive(Debug, Default)]
struct Stall {
    /// Whether it lasts, and how many wait for its end.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Stall {
    fn set(&self, lasts: bool) {
        self.state.lock().unwrap().0 = lasts;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        let mut state = self.changed.wait_while(state, |(lasts, _)| *lasts).unwrap();
        state.1 -= 1;
    }
}

impl Between for HangingPf {
    fn function(&self) -> &dyn PciFunction {
        &*self.pf
    }
    fn region_read(&self, bar: u8, offset: u64, width: Width) -> Result<u64> {
        self.stall.pass();
        self.pf.region_read(bar, offset, width)
    }
    /// Once the PF is up the only writes are doorbells.
    fn region_write(&self, bar: u8, offset: u64, width: Width, value: u64) -> Result<()> {
        if let Some(missed) = self.missed.lock().unwrap().as_mut() {
            missed.push(Ring { bar, offset, width, value });
            return Ok(());
        }
        self.pf.region_write(bar, offset, width, value)
    }
}
