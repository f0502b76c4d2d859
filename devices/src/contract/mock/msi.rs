// SPDX-License-Identifier: Apache-2.0
//! Message-signalled interrupts that nobody gets.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::contract::platform::{MsiInterrupt, MsiMessage, MsiSource};

/// Gives out interrupts, and knows them by their number as long as somebody has them.
#[derive(Clone, Debug, Default)]
pub struct MockMsi {
    given: Arc<Mutex<Vec<Weak<MockInterrupt>>>>,
    broken: Arc<AtomicBool>,
    limit: Option<usize>,
}

impl MockMsi {
    /// There are no more than `limit` interrupts.
    pub fn limited(limit: usize) -> Self {
        Self { limit: Some(limit), ..Self::default() }
    }

    /// No message can be routed, or can again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    /// Interrupts that somebody has.
    pub fn live(&self) -> usize {
        self.given.lock().unwrap().iter().filter(|interrupt| interrupt.strong_count() != 0).count()
    }

    /// The interrupt of that number, from 0, in the order of allocation.
    pub fn interrupt(&self, number: usize) -> Arc<MockInterrupt> {
        self.given.lock().unwrap()[number].upgrade().unwrap()
    }

    /// Messages that are delivered, by number of the interrupt.
    pub fn routes(&self) -> BTreeMap<usize, MsiMessage> {
        let given = self.given.lock().unwrap();
        let live = given.iter().enumerate().filter_map(|(number, interrupt)| Some((number, interrupt.upgrade()?)));
        live.filter_map(|(number, interrupt)| Some((number, interrupt.route()?))).collect()
    }
}

impl MsiSource for MockMsi {
    fn allocate(&self) -> io::Result<Arc<dyn MsiInterrupt>> {
        let mut given = self.given.lock().unwrap();
        if self.limit.is_some_and(|limit| given.len() >= limit) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let event = EventFd::new(EFD_NONBLOCK)?;
        let (calls, route) = (Mutex::default(), Mutex::default());
        let interrupt = Arc::new(MockInterrupt { event, calls, route, broken: self.broken.clone() });
        given.push(Arc::downgrade(&interrupt));
        Ok(interrupt)
    }
}

/// One interrupt.
#[derive(Debug)]
pub struct MockInterrupt {
    event: EventFd,
    calls: Mutex<Vec<Option<MsiMessage>>>,
    route: Mutex<Option<MsiMessage>>,
    broken: Arc<AtomicBool>,
}

impl MockInterrupt {
    /// Each message that it was enabled with, and `None` for each time it was disabled, since the last
    /// question.
    pub fn take_calls(&self) -> Vec<Option<MsiMessage>> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// The message that is delivered.
    pub fn route(&self) -> Option<MsiMessage> {
        *self.route.lock().unwrap()
    }

    /// Takes its signals: how many, if there are any.
    pub fn take_signals(&self) -> Option<u64> {
        self.event.read().ok()
    }

    fn change(&self, route: Option<MsiMessage>) {
        self.calls.lock().unwrap().push(route);
        *self.route.lock().unwrap() = route;
    }
}

impl MsiInterrupt for MockInterrupt {
    fn event(&self) -> &EventFd {
        &self.event
    }

    fn enable(&self, message: MsiMessage) -> io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.change(Some(message));
        Ok(())
    }

    fn disable(&self) -> io::Result<()> {
        self.change(None);
        Ok(())
    }
}
