// SPDX-License-Identifier: Apache-2.0
use devices::admin::{PfCounter, PfCounts, PfLoss, PfReport};

use super::*;

fn report(pfs: impl IntoIterator<Item = PfReport>) -> Report {
    let pfs = ('a'..).zip(pfs).map(|(pf, report)| PfSection { pf: pf.into(), report }).collect();
    let boot = Boot {
        ended_by: "end".into(),
        entry: "32-bit".into(),
        vcpus: Vec::new(),
        pfs,
        devices: Vec::new(),
        passthrough: Vec::new(),
        screen: Vec::new(),
    };
    Report { ended_by: "end".into(), boot_count: 1, boots: vec![boot], ..Report::default() }
}

#[test]
fn the_last_screen_is_at_the_end() {
    let mut report = report(None);
    report.boots[0].screen = vec!["Kernel panic".into()];
    assert!(render(&report).ends_with("\ntext screen at the end:\n  Kernel panic\n"));
}

#[test]
fn a_pf_is_told_of_once_it_was_lost() {
    let line = |pf| render(&report(pf)).lines().nth(3).map(str::to_owned);
    assert_eq!(line(None), None);
    assert_eq!(line(Some(PfReport::default())), None);
    let loss = |back_after_ms| PfLoss { after_ms: 12_340, reason: "reset".into(), back_after_ms };
    let pf = |loss| PfReport { counts: PfCounts::new([2, 1, 3]), last_loss: Some(loss) };
    let start = "PF a: lost 2 times, restarted 1 times, 3 attempts failed; last lost 12.3 s after power-on, ";
    assert_eq!(line(Some(pf(loss(Some(1500))))), Some(format!("{start}back 1.5 s later: reset")));
    assert_eq!(line(Some(pf(loss(None)))), Some(format!("{start}NOT BACK: reset")));
}

#[test]
fn each_pf_is_told_of() {
    let lost = |losses, reason: &str| PfReport {
        counts: PfCounts::default().with(PfCounter::Losses, losses),
        last_loss: Some(PfLoss { after_ms: 1000, reason: reason.into(), back_after_ms: None }),
    };
    let report = report([lost(1, "one"), PfReport::default(), lost(3, "three")]);
    let text = render(&report);
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("PF ")).collect();
    assert!(lines.len() == 2 && lines[0].starts_with("PF a: lost 1 times"), "{text}");
    assert!(lines[1].starts_with("PF c: lost 3 times") && lines[1].ends_with("NOT BACK: three"), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    let expected = serde_json::json!({"pf": "b", "losses": 0, "restarts": 0, "failed_restarts": 0, "last_loss": null});
    assert_eq!(json["boots"][0]["pfs"][1], expected);
    assert_eq!(json["boots"][0]["pfs"].as_array().map(Vec::len), Some(3));
}
