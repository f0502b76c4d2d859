// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn mac_addresses() {
    let mac: MacAddress = "52:54:00:12:34:56".parse().unwrap();
    assert_eq!(mac.0, [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert_eq!(mac.to_string(), "52:54:00:12:34:56");
    assert!(matches!("01:00:5e:00:00:01".parse::<MacAddress>(), Err(MacError::Group(_))));
    for text in
        ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "52:54:00:12:34:5g", "5254.0012.3456", "+2:54:00:12:34:56"]
    {
        assert!(matches!(text.parse::<MacAddress>(), Err(MacError::Malformed(_))), "{text}");
    }
}
