// SPDX-License-Identifier: Apache-2.0
//! The value of `--smbios`.

use api::SmbiosConfig;

use super::options::Options;

/// Parses `vendor=...,serial=...`.
pub fn parse(text: &str) -> Result<SmbiosConfig, String> {
    let mut options = Options::parse(text)?;
    let smbios = SmbiosConfig {
        vendor: options.value("vendor")?,
        product: options.value("product")?,
        version: options.value("version")?,
        serial: options.value("serial")?,
        uuid: options.value("uuid")?,
    };
    options.finish()?;
    Ok(smbios)
}
