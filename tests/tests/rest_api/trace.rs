// SPDX-License-Identifier: Apache-2.0
//! `vm.trace`: accesses of a guest that runs, of one device and of all, to the end of the machine.

use std::io::{BufRead, BufReader};
use std::thread;

use serde_json::{Value, json};
use tests::{Heirloom, TestDisk};

use super::{Bench, LIMIT, expect, wait_until};

/// Live accesses name register and answer; the stream of a device has no other's; it ends with the machine.
pub(crate) fn is_live() -> Result<(), String> {
    let bench = Bench::serve()?;
    let disk = TestDisk::new(64 << 10, 7)?;
    let devices = json!([{"id": "disk", "soft": {"blk": {"file": disk.path()}}, "shadow": false},
                         {"id": "lan", "soft": {"net": {"backend": "loopback"}}}]);
    let config = bench.config("test=reload irq=msix count=1000000000", &devices)?;
    bench.ctl(&["create", &config])?.expect_code(0)?;
    bench.ctl(&["trace"])?.expect_code(4)?.expect_error("Created")?;
    bench.ctl(&["boot"])?.expect_code(0)?;
    bench.ctl(&["trace", "nobody"])?.expect_code(4)?.expect_error("nobody")?;
    let listen = |words: &[&str]| {
        let heirloom = Heirloom::plain(&["ctl", "--api-socket", &bench.socket(), "trace"]).args(words).limit(LIMIT);
        thread::spawn(move || heirloom.finish())
    };
    let (of_disk, of_lan) = (listen(&["disk"]), listen(&["lan"]));
    // A listener that leaves early.
    let mut early = Heirloom::plain(&["ctl", "--api-socket", &bench.socket(), "trace"]).start()?;
    let mut out = BufReader::new(early.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    while !line.contains(r#""event":"access""#) {
        line.clear();
        expect("the stream goes on", out.read_line(&mut line).map_err(|e| e.to_string())? > 0, true)?;
    }
    drop(early);
    let reads = || Ok::<_, String>(bench.json(&["counters"])?["disk"]["reads"].as_u64().unwrap_or(0));
    let before = reads()?;
    wait_until("the guest goes on", || Ok(reads()? > before + 1000))?;
    expect("state", bench.state()?, "Running".to_owned())?;
    bench.ctl(&["shutdown"])?.expect_code(0)?;
    let ended = |listener: thread::JoinHandle<Result<tests::Finished, String>>| {
        let text = listener.join().map_err(|_| "the listener panicked")??.expect_code(0)?.stdout;
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        lines.map_err(|e| e.to_string())
    };
    let (of_disk, of_lan) = (ended(of_disk)?, ended(of_lan)?);
    let accesses: Vec<_> = of_disk.iter().filter(|line| line["event"] == "access").collect();
    expect("the start", of_disk[0]["event"].as_str(), Some("start"))?;
    let known = |line: &&Value| line["device"] == "disk" && line["register"].is_string() && line["latency_ns"].is_u64();
    expect("accesses of the disk", !accesses.is_empty() && accesses.iter().all(known), true)?;
    expect("commands", accesses.iter().any(|line| line["sent"] == "admin"), true)?;
    let others = of_lan.iter().filter(|line| line["device"] == "disk").count();
    expect("accesses of the other device", others, 0)?;
    bench.end()
}
