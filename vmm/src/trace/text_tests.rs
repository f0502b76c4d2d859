// SPDX-License-Identifier: Apache-2.0

use super::*;
use crate::trace::line::Command;

fn access(register: &str, value: u64) -> Access {
    Access {
        t: 1_002_003_004,
        vcpu: 1,
        device: "net0".to_owned(),
        dir: Dir::Write,
        offset: 18,
        width: 1,
        register: register.to_owned(),
        value,
        sent: Sent::Admin,
        latency_ns: 12_345,
        command_count: 3,
        commands: vec![Command { op: "legacy_common_cfg_write".to_owned(), offset: 18, width: 1 }],
        error: None,
    }
}

#[test]
fn an_access_is_one_line_with_what_it_means() {
    let line = Line::Access(access("device_status", 0x83));
    let wanted = "    1.002003004 vcpu1  net0       write 18 device_status        0x83 (ACKNOWLEDGE DRIVER FAILED)  \
                  [common_cfg_write 18/1, and 2 more] 12.3 us";
    assert_eq!(text(&line, Some(DeviceType::Net)), wanted);
    let features = Access { width: 4, ..access("driver_features", 0x30020) };
    assert!(text(&Line::Access(features), Some(DeviceType::Net)).contains("0x00030020 (MAC STATUS CTRL_VQ)"));
    let queue = Access { width: 4, ..access("queue_address", 0x100) };
    assert!(text(&Line::Access(queue), None).contains("0x00000100 (at 0x100000)"));
    let failed = Access { error: Some("timeout".to_owned()), ..access("queue_size", 0) };
    assert!(text(&Line::Access(failed), None).ends_with("ERROR: timeout"));
}

#[test]
fn every_line_is_one_line() {
    let device = || "d".to_owned();
    let lines = [
        Line::start("now".to_owned()),
        Line::Device { t: 1, device: device(), kind: "net".to_owned() },
        Line::Faulted { t: 1, device: device(), reason: "a\nb".to_owned() },
        Line::Interrupt { t: 1, device: device(), isr: 1, spurious: true },
        Line::Reset { t: 1, device: device(), what: "device".to_owned() },
        Line::Msix { t: 1, device: device(), enabled: true, command_count: 4 },
        Line::Recovered { t: 1, device: device() },
        Line::Totals(Totals::default()),
        Line::Lost { t: 1, count: 3 },
    ];
    for line in &lines {
        assert!(!text(line, None).contains('\n'), "{line:?}");
    }
    assert!(text(&lines[0], None).starts_with(TEXT_HEAD));
}

#[test]
fn lengths_have_a_unit_that_suits_them() {
    let shown: Vec<_> = [0, 999, 1_000, 999_949, 1_500_000, 2_340_000_000].map(|ns| Span(ns).to_string()).into();
    assert_eq!(shown, ["0 ns", "999 ns", "1.0 us", "999.9 us", "1.5 ms", "2.34 s"]);
    assert_eq!((status_names(0).as_str(), status_names(0x11).as_str()), ("reset", "ACKNOWLEDGE 0x10"));
}
