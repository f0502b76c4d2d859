// SPDX-License-Identifier: Apache-2.0
//! The value of `--device`.

use api::{DeviceConfig, VfioConfig};

use super::legacy_virtio::{address, id, mode, token};
use super::options::Options;

/// Parses `vfio=0000:41:00.3,...` or `vfio-user=SOCKET,...`.
pub fn parse(text: &str) -> Result<DeviceConfig, String> {
    let mut options = Options::parse(text)?;
    let config = match (options.value("vfio")?, options.value("vfio-user")?) {
        (Some(function), None) => {
            let vfio = VfioConfig {
                address: address(&function).map_err(|error| format!("vfio={function}: {error}"))?,
                token: options.parsed("token", token)?,
                mode: options.parsed("mode", mode)?.unwrap_or_default(),
            };
            DeviceConfig { vfio: Some(vfio), ..DeviceConfig::default() }
        }
        (None, Some(socket)) => DeviceConfig { vfio_user: Some(socket.into()), ..DeviceConfig::default() },
        _ => return Err("give one of vfio= and vfio-user=: vfio=0000:41:00.3 or vfio-user=SOCKET".to_owned()),
    };
    let config = DeviceConfig { id: options.parsed("id", id)?, ..config };
    options.finish()?;
    Ok(config)
}
