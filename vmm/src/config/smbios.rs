// SPDX-License-Identifier: Apache-2.0
//! The machine's identity, checked as far as words can be.

use api::SmbiosConfig;
use arch::smbios::{Identity, SmbiosError};
use devices::function::vfio::VfToken;

use super::ConfigError;

/// Texts, as the API calls them.
const FIELDS: [&str; 4] = ["smbios.vendor", "smbios.product", "smbios.version", "smbios.serial"];

/// What the tables say: the configuration's words, else the defaults.
pub(super) fn check(config: &SmbiosConfig) -> Result<Identity, ConfigError> {
    let SmbiosConfig { vendor, product, version, serial, uuid } = config.clone();
    let default = Identity::default();
    for (field, text) in FIELDS.into_iter().zip([&vendor, &product, &version, &serial]) {
        if text.as_deref() == Some("") {
            return Err(ConfigError::Value { field, text: format!("{field} is empty: leave it out") });
        }
    }
    let identity = Identity {
        vendor: vendor.unwrap_or(default.vendor),
        product: product.unwrap_or(default.product),
        version: version.unwrap_or(default.version),
        serial: serial.unwrap_or(default.serial),
        uuid: uuid.as_deref().map(parse_uuid).transpose()?,
    };
    identity.check().map_err(|error| {
        let field = match error {
            SmbiosError::Text { field } => field,
            _ => "",
        };
        ConfigError::Value {
            field: FIELDS.into_iter().find(|f| f.ends_with(field)).unwrap_or("smbios"),
            text: error.to_string(),
        }
    })?;
    Ok(identity)
}

fn parse_uuid(text: &str) -> Result<[u8; 16], ConfigError> {
    // A VF token is a UUID, in the order of its text too.
    let uuid: Result<VfToken, _> = text.parse();
    uuid.map(|uuid| *uuid.bytes()).map_err(|_| ConfigError::Value {
        field: "smbios.uuid",
        text: format!(
            "smbios.uuid={text}: not a UUID, such as bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3; make one with: uuidgen"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of(text: &str) -> Option<String> {
        check(&serde_json::from_str(text).unwrap()).unwrap_err().field()
    }

    #[test]
    fn words_become_an_identity() {
        let text = r#"{"product": "P", "serial": "S", "uuid": "12345678-9abc-def0-0102-030405060708"}"#;
        let identity = check(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!((&*identity.vendor, &*identity.product, &*identity.serial), ("Heirloom", "P", "S"));
        assert_eq!(identity.uuid.unwrap()[..4], [0x12, 0x34, 0x56, 0x78]);
        assert_eq!(check(&SmbiosConfig::default()).unwrap(), Identity::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(field_of(r#"{"serial": ""}"#).as_deref(), Some("smbios.serial"));
        assert_eq!(field_of(r#"{"vendor": "a\nb"}"#).as_deref(), Some("smbios.vendor"));
        assert_eq!(field_of(&format!(r#"{{"version": "{}"}}"#, "x".repeat(65))).as_deref(), Some("smbios.version"));
        assert_eq!(field_of(r#"{"uuid": "123"}"#).as_deref(), Some("smbios.uuid"));
    }
}
