// SPDX-License-Identifier: Apache-2.0
//! The text screen on its ports.

use std::sync::Arc;

use devices::bus::{Bus, Range};
use devices::chipset::{Vga, vga};

use super::SetupError;
use crate::config::ScreenPlan;
use crate::kvm::GuestRam;

/// Adds the screen, if there is to be one. Its memory is RAM like all around it.
pub(super) fn add(ports: &Bus, plan: Option<&ScreenPlan>, ram: &GuestRam) -> Result<Option<Arc<Vga>>, SetupError> {
    if plan.is_none() {
        return Ok(None);
    }
    let screen = Arc::new(Vga::new(ram.memory().clone()));
    let (base, size) = vga::PORTS;
    let range = Range::new(base, size).ok_or(SetupError::Internal("a device without ports"))?;
    ports.insert(range, screen.clone())?;
    Ok(Some(screen))
}
