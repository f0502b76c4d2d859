// SPDX-License-Identifier: Apache-2.0
use api::{InterruptMode, NetBackend, NotifyMode, SoftDevice};
use clap::CommandFactory;

use super::*;

fn run(words: &[&str]) -> Result<Box<RunArgs>, String> {
    let cli = Cli::try_parse_from([&["heirloom", "run"], words].concat()).map_err(|e| e.to_string())?;
    let Command::Run(args) = cli.command else { panic!("not run") };
    Ok(args)
}

fn device(text: &str) -> Result<LegacyVirtioConfig, String> {
    legacy_virtio::parse(text)
}

#[test]
fn the_command_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn a_whole_command_line() {
    let args = run(&[
        "--kernel=bzImage",
        "--initrd=initrd",
        "--cpus=4",
        "--memory=4G",
        "--cpu=legacy",
        "--serial=none",
        "--legacy-virtio",
        "soft=blk,file=disk.img,id=root,irq=intx,readonly=on",
        "--legacy-virtio",
        "soft=net,tap=tap0",
        "--report=out.json",
    ])
    .unwrap();
    let config = args.config();
    assert_eq!(config.payload.cmdline.as_deref(), Some("console=ttyS0"));
    assert_eq!((config.cpus.boot_vcpus, config.cpus.profile, config.memory.size), (4, CpuProfile::Legacy, 4 << 30));
    assert_eq!(config.serial.mode, ConsoleMode::Off);
    assert_eq!(config.legacy_virtio.len(), 2);
    assert_eq!(config.legacy_virtio[0].id.as_deref(), Some("root"));
    let report = &args.reports()[0];
    assert_eq!((report.file.as_deref(), report.format), (Some("out.json".as_ref()), ReportFormat::Json));
}

#[test]
fn reports_go_to_several_places_each_in_its_form() {
    let reports = run(&["--kernel=k", "--report=-", "--report=a.JSON"]).unwrap().reports();
    let forms: Vec<_> = reports.iter().map(|r| (r.file.is_some(), r.format)).collect();
    assert_eq!(forms, [(false, ReportFormat::Text), (true, ReportFormat::Json)]);
    let forced = run(&["--kernel=k", "--report=-", "--report-format=json"]).unwrap().reports();
    assert_eq!(forced[0].format, ReportFormat::Json);
}

#[test]
fn devices() {
    let blk = device("soft=blk,file=a,,b.img,notify=exit,deadline_ms=250").unwrap();
    assert_eq!(blk.soft, SoftDevice::Blk { file: "a,b.img".into(), readonly: false });
    assert_eq!((blk.irq, blk.notify, blk.deadline_ms), (InterruptMode::Auto, NotifyMode::Exit, Some(250)));
    assert!(blk.shadow, "on unless it is switched off");
    for (value, shadow) in [("on", true), ("off", false)] {
        assert_eq!(device(&format!("soft=net,loopback,shadow={value}")).unwrap().shadow, shadow);
    }
    for text in ["soft=net,loopback", "soft=net,loopback=on", "soft=net,tap=loopback"] {
        let SoftDevice::Net { backend, .. } = device(text).unwrap().soft else { panic!("{text} is no network card") };
        assert_eq!(backend, NetBackend::Loopback, "{text}");
    }
}

#[test]
fn errors_name_the_option_the_value_and_the_fix() {
    for (text, wanted) in [
        ("", "empty entry"),
        ("file=disk.img", "'soft' is missing"),
        ("soft=scsi", "the devices are blk and net"),
        ("soft=blk", "needs file=PATH"),
        ("soft=blk,file=", "'file' needs a value"),
        ("soft=blk,file=a,file=b", "given twice"),
        ("soft=blk,file=a,readonly=maybe", "must be on or off"),
        (
            "soft=blk,file=a,tap=b",
            "unknown key 'tap'; the keys here are soft, file, readonly, id, irq, notify, deadline_ms, shadow",
        ),
        ("soft=net", "needs tap=NAME or loopback"),
        ("soft=net,tap=t,loopback", "not both"),
        ("soft=net,loopback,mac=1", "mac=1: '1' is not a MAC address"),
        ("soft=net,loopback,irq=msi", "irq=msi: must be auto, intx or msix"),
        ("soft=net,loopback,deadline_ms=0", "1 to 60000"),
        ("soft=net,loopback,shadow=maybe", "shadow=maybe: must be on or off"),
        ("soft=net,loopback,shadow", "'shadow' needs a value"),
        ("soft=net,loopback,id=a b", "letters, digits"),
    ] {
        let error = device(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let error = run(&["--kernel=k", "--legacy-virtio", "soft=floppy"]).unwrap_err();
    assert!(error.contains("--legacy-virtio") && error.contains("soft=floppy"), "{error}");
    assert!(run(&["--kernel=k", "--memory=12Q"]).unwrap_err().contains("such as 512M"));
    assert!(run(&["--kernel=k", "--cpus=0"]).is_err());
    assert!(run(&[]).unwrap_err().contains("--kernel"));
}

#[test]
fn a_trace_has_a_file_and_a_form() {
    use crate::trace::{TraceFormat, TraceTarget};
    let target = |words: &[&str]| {
        let words = [&["heirloom", "run", "--kernel", "k"], words].concat();
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else { panic!("not run") };
        args.observe.trace()
    };
    let to = |file: &str, format| Some(TraceTarget { file: (file != "-").then(|| file.into()), format });
    assert_eq!(target(&[]), None);
    assert_eq!(target(&["--trace-legacy", "t.jsonl"]), to("t.jsonl", TraceFormat::Json));
    assert_eq!(target(&["--trace-legacy", "t.txt"]), to("t.txt", TraceFormat::Text));
    assert_eq!(target(&["--trace-legacy", "-", "--trace-format", "json"]), to("-", TraceFormat::Json));
    assert_eq!(target(&["--trace-legacy", "t.jsonl", "--trace-format", "text"]), to("t.jsonl", TraceFormat::Text));
    assert!(Cli::try_parse_from(["heirloom", "run", "--kernel", "k", "--trace-format", "json"]).is_err());
    let cli = Cli::try_parse_from(["heirloom", "trace", "summarize", "t.jsonl", "--svg", "o.svg"]).unwrap();
    let Command::Trace(TraceArgs { command: TraceCommand::Summarize(args) }) = cli.command else { panic!("not trace") };
    assert_eq!((args.file, args.svg, args.json), ("t.jsonl".into(), Some("o.svg".into()), false));
}
