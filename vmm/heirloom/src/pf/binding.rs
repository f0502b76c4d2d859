// SPDX-License-Identifier: Apache-2.0
//! Which driver has a function.

use devices::function::vfio::Bdf;

use super::{Host, ManageError};

/// Which driver a function has, and which it is reserved for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Binding {
    pub driver: Option<String>,
    pub driver_override: Option<String>,
}

impl Binding {
    /// Reserved for a driver, and bound to it.
    pub(super) fn to(driver: &str) -> Self {
        Self { driver: Some(driver.to_owned()), driver_override: Some(driver.to_owned()) }
    }

    /// As a function is now.
    pub(super) fn of(host: &Host, bdf: Bdf) -> Result<Self, ManageError> {
        let function = host.function(bdf)?;
        Ok(Self { driver: function.driver()?, driver_override: function.driver_override()? })
    }

    /// The driver, for messages.
    pub(super) fn name(&self) -> &str {
        self.driver.as_deref().unwrap_or("no driver")
    }
}
