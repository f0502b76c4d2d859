// SPDX-License-Identifier: Apache-2.0
use devices::admin::PfLoss;

use super::*;

fn report(pf: Option<PfReport>) -> Report {
    let boot = Boot { ended_by: "end".into(), vcpus: Vec::new(), pf, devices: Vec::new(), passthrough: Vec::new() };
    Report { ended_by: "end".into(), boot_count: 1, boots: vec![boot], ..Report::default() }
}

#[test]
fn a_pf_is_told_of_once_it_was_lost() {
    let line = |pf| render(&report(pf)).lines().nth(1).map(str::to_owned);
    assert_eq!(line(None), None);
    assert_eq!(line(Some(PfReport::default())), None);
    let loss = |back_after_ms| PfLoss { after_ms: 12_340, reason: "reset".into(), back_after_ms };
    let pf = |loss| PfReport { losses: 2, restarts: 1, failed_restarts: 3, last_loss: Some(loss) };
    let start = "PF: lost 2 times, restarted 1 times, 3 attempts failed; last lost 12.3 s after power-on, ";
    assert_eq!(line(Some(pf(loss(Some(1500))))), Some(format!("{start}back 1.5 s later: reset")));
    assert_eq!(line(Some(pf(loss(None)))), Some(format!("{start}NOT BACK: reset")));
}

#[test]
fn json_has_the_pf() {
    let json = serde_json::to_value(report(Some(PfReport::default()))).unwrap();
    let expected = serde_json::json!({"losses": 0, "restarts": 0, "failed_restarts": 0, "last_loss": null});
    assert_eq!(json["boots"][0]["pf"], expected);
    assert!(serde_json::to_value(report(None)).unwrap()["boots"][0]["pf"].is_null());
}
