// SPDX-License-Identifier: Apache-2.0
//! The text screen on its ports.

use std::sync::Arc;

use devices::bus::Bus;
use devices::chipset::{Vga, vga};

use super::SetupError;
use super::chipset::insert;
use crate::config::ScreenPlan;
use crate::kvm::GuestRam;

/// Adds the screen, if there is to be one. Its memory is RAM like all around it.
pub(super) fn add(ports: &Bus, plan: Option<&ScreenPlan>, ram: &GuestRam) -> Result<Option<Arc<Vga>>, SetupError> {
    if plan.is_none() {
        return Ok(None);
    }
    let screen = Arc::new(Vga::new(ram.memory().clone()));
    insert(ports, vga::FIRST_PORT, vga::PORTS, screen.clone())?;
    Ok(Some(screen))
}
