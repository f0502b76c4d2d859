// SPDX-License-Identifier: Apache-2.0
//! What `--trace-legacy` writes, to a file and to one who does not read it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::report::{check, device, number};
use tests::{Heirloom, Signal};

use crate::bench::Bench;

/// What `heirloom trace summarize --json` says of a trace.
fn summary(trace: &Path, svg: &Path) -> Result<Value, String> {
    let (trace, svg) = (trace.display().to_string(), svg.display().to_string());
    let words = ["trace", "summarize", &trace, "--json", "--svg", &svg];
    let finished = Heirloom::plain(&words).finish()?.expect_code(0)?;
    serde_json::from_str(&finished.stdout).map_err(|e| e.to_string())
}

/// The trace has what the devices counted, and its summary has what the guest's driver is known to do.
pub(crate) fn traced() -> Result<(), String> {
    let bench = Bench::new("test=net irq=msix count=5")?;
    let (trace, svg) = (bench.disk.dir().join("trace.jsonl"), bench.disk.dir().join("trace.svg"));
    let bench = bench.word(&format!("--trace-legacy={}", trace.display()));
    let (_, report) = bench.run()?;
    let summary = summary(&trace, &svg)?;
    check(summary["lost"] == 0 && summary["cut_off"] == false, "an incomplete trace", &summary)?;
    let devices = summary["devices"].as_array().ok_or("no devices")?;
    let net = devices.iter().find(|d| d["id"] == "net").ok_or("no net")?;
    let counted = device(&report, "net")?;
    check(net["reads"] == counted["accesses"]["reads"], "other reads than counted", net)?;
    check(net["writes"] == counted["accesses"]["writes"], "other writes than counted", net)?;
    check(net["totals"]["kicks_ioeventfd"] == counted["kicks"]["ioeventfd"], "other kicks than counted", net)?;
    let life = &net["lives"][0];
    check(life["msix"] == true && life["accepted_names"] == serde_json::json!(["MAC"]), "another probe", life)?;
    check(life["queues"]["0"]["size"] == 256 && life["queues"]["1"]["vector"] == 1, "other queues", life)?;
    check(!life["driver_ok"].is_null() && life["early_kicks"] == 1, "not ready, or no early kick", life)?;
    check(life["looks_like"].is_null(), "our own guest is no known driver", life)?;
    check(net["errors"] == serde_json::json!({}) && net["faults"] == 0, "failures", net)?;
    let picture = std::fs::read_to_string(&svg).map_err(|e| e.to_string())?;
    check(picture.contains("DRIVER_OK") && picture.ends_with("</svg>\n"), "not a whole picture", net)
}

/// Who reads the trace takes nothing: the guest does all that it does, and comes to its end, and so does heirloom.
pub(crate) fn traced_to_a_reader_that_is_stuck() -> Result<(), String> {
    let bench = Bench::new("test=bench count=1000")?.disk_keys(",notify=exit");
    let fifo = bench.disk.fifo("trace.jsonl")?;
    // Opened both ways, it has a reader that reads nothing.
    let stuck = std::fs::File::options().read(true).write(true).open(&fifo).map_err(|e| e.to_string())?;
    let bench = bench.word(&format!("--trace-legacy={}", fifo.display()));
    let (_, report) = bench.run()?;
    let disk = device(&report, "disk")?;
    check(number(&disk["accesses"]["reads"])? >= 20_000, "the guest did less than it was to do", disk)?;
    check(disk["faulted"].is_null(), "the disk is out of service", disk)?;
    drop(stuck);
    Ok(())
}

/// A signal ends the guest in the middle; the trace is whole up to there.
pub(crate) fn traced_until_a_signal() -> Result<(), String> {
    // The guest counts exits that nobody traces first; in the host VM a million of them take a minute.
    let bench = Bench::new("test=bench count=300000")?.disk_keys(",notify=exit");
    let (trace, svg) = (bench.disk.dir().join("trace.jsonl"), bench.disk.dir().join("trace.svg"));
    let bench = bench.word(&format!("--trace-legacy={}", trace.display()));
    let mut running = bench.start()?.start()?;
    // The limit is a safety net for a machine that is busy.
    let end = Instant::now() + Duration::from_secs(300);
    while std::fs::metadata(&trace).map_or(0, |m| m.len()) < 100_000 {
        if let Some(status) = running.try_wait().map_err(|e| e.to_string())? {
            return Err(format!("it ended by itself with {status}"));
        }
        if Instant::now() > end {
            return Err("nothing is traced".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20)); // Clock: between two looks.
    }
    running.signal(Signal::TERM)?;
    let status = running.wait().map_err(|e| e.to_string())?;
    if status.code() != Some(128 + 15) {
        return Err(format!("it ended with {status}"));
    }
    let summary = summary(&trace, &svg)?;
    check(summary["cut_off"] == false, "the end is missing", &summary["cut_off"])?;
    let totals = &summary["devices"][0]["totals"];
    check(!totals.is_null(), "the totals are missing", totals)
}
