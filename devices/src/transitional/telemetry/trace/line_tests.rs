// SPDX-License-Identifier: Apache-2.0

use proptest::prelude::*;

use super::*;

fn name() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ -~\\n\\t\"\\\\é→]{0,40}").unwrap()
}

fn command() -> impl Strategy<Value = Command> {
    (name(), any::<u8>(), any::<u8>()).prop_map(|(op, offset, width)| Command { op, offset, width })
}

fn sent() -> impl Strategy<Value = Sent> {
    use Sent::*;
    proptest::sample::select(vec![Admin, Shadow, Isr, Doorbell, Dropped, Ignored, OutOfService])
}

prop_compose! {
    fn access()(
        (t, vcpu, device, is_read) in (any::<u64>(), any::<u16>(), name(), any::<bool>()),
        (offset, width, register, value) in (any::<u64>(), any::<u8>(), name(), any::<u64>()),
        (sent, latency_ns, command_count) in (sent(), any::<u64>(), any::<u16>()),
        commands in proptest::collection::vec(command(), 0..7),
        error in proptest::option::of(name()),
    ) -> Access {
        let dir = if is_read { Dir::Read } else { Dir::Write };
        Access { t, vcpu, device, dir, offset, width, register, value, sent, latency_ns, command_count, commands, error }
    }
}

fn line() -> impl Strategy<Value = Line> {
    let at = || (any::<u64>(), name());
    prop_oneof![
        (any::<u32>(), name()).prop_map(|(format, started)| Line::Start { format, started }),
        (at(), name()).prop_map(|((t, device), kind)| Line::Device { t, device, kind }),
        access().prop_map(Line::Access),
        (at(), any::<u8>(), any::<bool>()).prop_map(|((t, device), isr, spurious)| Line::Interrupt {
            t,
            device,
            isr,
            spurious
        }),
        (at(), name()).prop_map(|((t, device), what)| Line::Reset { t, device, what }),
        (at(), any::<bool>(), any::<u16>()).prop_map(|((t, device), enabled, command_count)| Line::Msix {
            t,
            device,
            enabled,
            command_count
        }),
        (at(), name()).prop_map(|((t, device), reason)| Line::Faulted { t, device, reason }),
        at().prop_map(|(t, device)| Line::Recovered { t, device }),
        (at(), any::<[u64; 4]>(), any::<[u64; 4]>()).prop_map(|((t, device), a, b)| Line::Totals(Totals {
            t,
            device,
            reads: a[0],
            writes: a[1],
            commands: a[2],
            kicks_ioeventfd: a[3],
            kicks_store: b[0],
            kicks_admin: b[1],
            intx: b[2],
            resets: b[3],
        })),
        any::<(u64, u64)>().prop_map(|(t, count)| Line::Lost { t, count }),
    ]
}

proptest! {
    #[test]
    fn a_line_reads_back_as_it_was_written(line in line()) {
        let text = serde_json::to_string(&line).unwrap();
        prop_assert!(!text.contains('\n'), "one line: {text}");
        prop_assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
    }
}

#[test]
fn the_words_of_a_line_are_these() {
    let access = Access {
        t: 1_500,
        vcpu: 0,
        device: "net0".to_owned(),
        dir: Dir::Write,
        offset: 18,
        width: 1,
        register: "device_status".to_owned(),
        value: 3,
        sent: Sent::Admin,
        latency_ns: 8_100,
        command_count: 1,
        commands: vec![Command { op: "legacy_common_cfg_write".to_owned(), offset: 18, width: 1 }],
        error: Some("timeout".to_owned()),
    };
    let wanted = r#"{"event":"access","t":1500,"vcpu":0,"device":"net0","dir":"write","offset":18,"width":1,"register":"device_status","value":3,"sent":"admin","latency_ns":8100,"command_count":1,"commands":[{"op":"legacy_common_cfg_write","offset":18,"width":1}],"error":"timeout"}"#;
    assert_eq!(serde_json::to_string(&Line::Access(access)).unwrap(), wanted);
}

#[test]
fn device_types_have_the_names_of_reports() {
    for device in DeviceType::ALL {
        assert_eq!(serde_json::to_value(device).unwrap(), kind_name(device));
        assert_eq!(kind(kind_name(device)), Some(device));
    }
    assert_eq!(kind("gpu"), None);
}
