// SPDX-License-Identifier: Apache-2.0
//! A disk whose storage never answers, behind a real FUSE server: what clients of the API see of it. Each request has its
//! limit in the service, and fails with a fault when that is over.

use serde_json::{Value, json};
use tests::fuse::FuseDisk;
use tests::{Signal, TestDisk};

use super::{Bench, LIMIT, expect, wait_until};

/// Boots a guest that reads a disk which falls silent under it.
fn boot(bench: &Bench, storage: &FuseDisk) -> Result<(), String> {
    storage.hang(false);
    let before = storage.reads();
    let disk = json!([{"id": "disk", "soft": {"blk": {"file": FuseDisk::PATH}}}]);
    let config = bench.config("test=reload irq=pic count=1000000", &disk)?;
    bench.ctl(&["create", &config])?.expect_code(0)?;
    bench.ctl(&["boot"])?.expect_code(0)?;
    wait_until("the guest reads the disk", || Ok(storage.reads() > before))?;
    storage.hang(true);
    wait_until("the guest waits for the disk", || Ok(storage.keeps_somebody_waiting()))
}

pub(crate) fn holds_no_request_up() -> Result<(), String> {
    let image = TestDisk::new(64 << 10, 7)?;
    let storage = match FuseDisk::new(image.bytes()?) {
        Ok(storage) => storage,
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            return Ok(());
        }
    };
    let mut bench = Bench::serve_with(storage.stdin()?)?;
    boot(&bench, &storage)?;
    for _ in 0..2 {
        expect("state", bench.state()?.as_str(), "Running")?;
        expect("counters", bench.json(&["counters"])?["disk"]["reads"].as_u64().is_some(), true)?;
        bench.ctl(&["metrics"])?.expect_code(0)?.expect_output("heirloom_")?;
        expect("legacy", bench.json(&["legacy", "disk"])?[0]["id"].as_str(), Some("disk"))?;
        bench.ctl(&["pause"])?.expect_code(0)?;
        expect("state", bench.state()?.as_str(), "Paused")?;
        bench.ctl(&["counters"])?.expect_code(0)?;
        bench.ctl(&["resume"])?.expect_code(0)?;
    }
    bench.ctl(&["reboot"])?.expect_code(0)?;
    bench.ctl(&["delete"])?.expect_code(0)?;
    expect("it never answered", storage.keeps_somebody_waiting(), true)?;

    // The next machine of this service is as good as any.
    let config = bench.config("test=blk irq=pic", &json!([{"soft": {"blk": {"file": image.path()}}}]))?;
    bench.ctl(&["create", &config])?.expect_code(0)?;
    bench.ctl(&["boot"])?.expect_code(0)?;
    wait_until("the other machine ends", || Ok(bench.state()? == "Shutdown"))?;
    let ended: Value = bench.json(&["info"])?["ended_by"].clone();
    expect("how it ended", ended.as_str().is_some_and(|why| why.contains("power")), true)?;
    bench.ctl(&["delete"])?.expect_code(0)?;

    boot(&bench, &storage)?;
    let messages = bench.server.messages()?;
    bench.server.signal(Signal::TERM)?;
    let status = bench.server.end(LIMIT)?;
    let said = messages.rest();
    let in_order = status.code() == Some(128 + 15) && !said.contains("did not stop");
    if in_order { Ok(()) } else { Err(format!("{status}\n{said}")) }
}
