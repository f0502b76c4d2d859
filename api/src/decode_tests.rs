// SPDX-License-Identifier: Apache-2.0
use proptest::prelude::*;

use super::*;

#[test]
fn one_configuration_in_two_languages() {
    let json = r#"{"payload": {"kernel": "k"}, "memory": {"size": 268435456}, "legacy_virtio": [{"soft": {"blk": {"file": "d"}}, "irq": "intx"}]}"#;
    let toml = "[payload]\nkernel = \"k\"\n[memory]\nsize = 268435456\n[[legacy_virtio]]\nirq = \"intx\"\nsoft.blk.file = \"d\"\n";
    assert_eq!(config_file(json, false).unwrap(), config_file(toml, true).unwrap());
    let error = config_file("payload = [", true).unwrap_err().to_string();
    assert!(error.starts_with("not TOML: "), "{error}");
    let error = config_file("{", false).unwrap_err().to_string();
    assert!(error.starts_with("not JSON: ") && error.contains("line 1"), "{error}");
    let error = config_file("[payload]\nkernel = \"k\"\n[cpus]\nboot_vcpus = 0\n", true).unwrap_err().to_string();
    assert!(error.contains("cpus.boot_vcpus"), "{error}");
}

#[test]
fn queries() {
    let ask = |text| query(text, &["id", "path"]);
    assert_eq!(ask("").unwrap(), []);
    assert_eq!(ask("id=net0&path=%2Fsys%2Fa+b").unwrap(), [("id", "net0".to_owned()), ("path", "/sys/a b".to_owned())]);
    for text in ["x=1", "id=1&id=2", "id=%", "id=%4", "id=%GG", "id=%FF", "%=1"] {
        assert_eq!(ask(text).unwrap_err().code, Code::InvalidField, "{text}");
    }
}

proptest! {
    #[test]
    fn no_input_panics(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = query(&text, &["id"]);
        let _ = config_file(&text, true);
        let _ = config_file(&text, false);
        let _ = json(&bytes).and_then(config);
    }
}
