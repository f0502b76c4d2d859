// SPDX-License-Identifier: Apache-2.0
//! The paths that a configuration names. Pure.

use std::path::Path;

use api::{FunctionOrigin, OptionRomConfig, SoftDevice, VfOrigin, VmConfig};

use super::{Access, Paths};

impl Paths {
    /// And all that `config` names.
    pub fn add_config(&mut self, config: &VmConfig) {
        let payload = &config.payload;
        for path in [&payload.kernel, &payload.initramfs, &payload.firmware].into_iter().flatten() {
            self.add(path, Access::Read);
        }
        if let Some(file) = &config.serial.file {
            self.add(file, Access::Output);
        }
        for device in &config.legacy_virtio {
            self.add_origin(&device.origin);
            if let OptionRomConfig::File(rom) = &device.rom {
                self.add(rom, Access::Read);
            }
        }
        for device in &config.devices {
            if let FunctionOrigin::Host(function) = &device.origin {
                self.add_token(function.token.as_deref());
            }
        }
    }

    /// And what a device is made of.
    pub fn add_soft(&mut self, device: &SoftDevice) {
        if let SoftDevice::Blk { file, readonly } = device {
            self.add(file, if *readonly { Access::Read } else { Access::ReadWrite });
        }
    }

    fn add_origin(&mut self, origin: &VfOrigin) {
        match origin {
            VfOrigin::Soft(device) => self.add_soft(device),
            VfOrigin::Host(function) => self.add_token(function.token.as_deref()),
            // A socket is connected to, which needs no right of Landlock's.
            VfOrigin::Served(_) => {}
        }
    }

    fn add_token(&mut self, token: Option<&str>) {
        if let Some(path) = token.and_then(|token| token.strip_prefix('@')) {
            self.add(Path::new(path), Access::Read);
        }
    }
}
