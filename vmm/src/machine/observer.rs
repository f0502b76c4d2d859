// SPDX-License-Identifier: Apache-2.0
//! Where events of a machine go. Decides nothing.

use std::sync::Arc;

use devices::admin::PfClient;
use devices::contract::NotifyAddress;
use devices::transitional::{FaultChange, Tracer};

/// Told what happens to devices. Called on any thread, with device locks held: it must not wait.
pub trait Observer: Send + Sync {
    /// Device `id` went out of service, or is back.
    fn device(&self, id: &str, change: FaultChange<'_>);
    /// The host's storage began to fail requests of device `id`.
    fn host_error(&self, id: &str, what: &str);
    /// A PF of legacy functions is lost.
    fn pf_lost(&self, pf: &str, reason: &str);
    /// It was restarted.
    fn pf_returned(&self, pf: &str);
    /// What legacy accesses are noted into, if anything.
    fn tracer(&self) -> Option<&Arc<Tracer>> {
        None
    }
}

/// A client of the PF whose news are observed.
pub(super) struct ObservedClient {
    /// The PF's name.
    pub(super) pf: String,
    pub(super) client: Arc<dyn PfClient>,
    pub(super) observer: Arc<dyn Observer>,
}

impl PfClient for ObservedClient {
    fn pf_lost(&self, reason: &str) {
        // Before the devices say what it does to them.
        self.observer.pf_lost(&self.pf, reason);
        self.client.pf_lost(reason);
    }

    fn pf_returned(&self, notify: &[NotifyAddress]) {
        self.observer.pf_returned(&self.pf);
        self.client.pf_returned(notify);
    }
}
