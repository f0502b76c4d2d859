// SPDX-License-Identifier: Apache-2.0
//! The function when its PF is lost and when it is back (hazard H27). It takes no register access,
//! and not the function's lock: a vCPU may hold that while it waits for the lost PF.

use crate::admin::PfClient;
use crate::contract::NotifyAddress;
use crate::transitional::device::TransitionalDevice;
use crate::transitional::kicks::notifier::Doorbell;

impl PfClient for TransitionalDevice {
    /// Out of service: no kick reaches the VF, reads give what a dead device gives, and a guest that
    /// goes on is stuck, but safe.
    fn pf_lost(&self, reason: &str) {
        self.faults.fault(format!("the PF was lost: {reason}"));
        self.notifier.reset();
    }

    /// The guest's next reset will bring the function back: until then it is out of service, as the
    /// VF knows nothing of what the guest set up.
    fn pf_returned(&self, notify: &[NotifyAddress]) {
        self.notifier.move_doorbell(Doorbell::find(notify, &self.vf, self.owner.as_ref()));
        tracing::info!(device = self.config.id, doorbell = self.notifier.describe(), "PF is back; waiting for a reset");
    }
}
