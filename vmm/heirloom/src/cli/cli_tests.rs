// SPDX-License-Identifier: Apache-2.0
use api::{
    AdminMode, ConsoleMode, CpuProfile, EarlyKicks, FunctionOrigin, InterruptMode, LegacyVirtioConfig, MemoryConfig,
    NetBackend, NewDevice, NotifyMode, SoftDevice, VfOrigin, VfioConfig, VfioMode,
};
use clap::CommandFactory;

use super::*;
use crate::report::ReportFormat;

fn run(words: &[&str]) -> Result<Box<RunArgs>, String> {
    let cli = Cli::try_parse_from([&["heirloom", "run"], words].concat()).map_err(|e| e.to_string())?;
    match cli.command {
        Command::Run(args) => Ok(args),
        other => Err(format!("{other:?}")),
    }
}

fn device(text: &str) -> Result<LegacyVirtioConfig, String> {
    key_value::legacy_virtio(text)
}

#[test]
fn the_command_is_well_formed() {
    Cli::command().debug_assert();
}

/// The table of options in docs/operation.md names options of `heirloom run`, with the defaults that they have.
#[test]
fn the_table_of_options_has_the_defaults() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operation.md")).unwrap();
    let (_, table) = docs.split_once("| option | default | notes |").unwrap();
    let command = Cli::command();
    let run = command.find_subcommand("run").unwrap();
    let mut rows = 0;
    for row in table.lines().skip(2).take_while(|line| line.starts_with("| `--")) {
        let name: String = row.chars().skip(5).take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let Some(option) = run.get_arguments().find(|arg| arg.get_long() == Some(&name)) else {
            panic!("--{name} is no option of heirloom run")
        };
        let cells: Vec<_> = row.split(" | ").collect();
        for default in option.get_default_values().iter().map(|default| default.to_str().unwrap()) {
            // An option that is there or not is off.
            let shown = if default == "false" { "off" } else { default };
            assert_eq!(cells[1].trim_matches('`'), shown, "--{name}");
        }
        let limits = format!("1 to {}", api::MAX_VCPUS);
        assert!(name != "cpus" || row.contains(&limits), "{row}");
        rows += 1;
    }
    assert!(rows > 10, "{rows}");
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
    let config = args.config().unwrap();
    assert_eq!(config.payload.cmdline.as_deref(), Some("console=ttyS0"));
    let firmware = run(&["--firmware=bios.bin"]).unwrap().config().unwrap().payload;
    assert_eq!((firmware.firmware, firmware.kernel, firmware.cmdline), (Some("bios.bin".into()), None, None));
    assert_eq!(run(&[]).unwrap().config().unwrap().payload, Default::default());
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
    let blk = device("soft=blk,file=a,,b.img,notify=exit,early=pass,deadline_ms=250").unwrap();
    assert_eq!(blk.origin, VfOrigin::Soft(SoftDevice::Blk { file: "a,b.img".into(), readonly: false }));
    assert_eq!((blk.irq, blk.notify, blk.deadline_ms), (InterruptMode::Auto, NotifyMode::Exit, Some(250)));
    assert_eq!(blk.early, EarlyKicks::Pass);
    assert!(blk.shadow, "on unless it is switched off");
    for (value, shadow) in [("on", true), ("off", false)] {
        assert_eq!(device(&format!("soft=net,loopback,shadow={value}")).unwrap().shadow, shadow);
    }
    for text in ["soft=net,loopback", "soft=net,loopback=on", "soft=net,tap=loopback"] {
        let VfOrigin::Soft(SoftDevice::Net { backend, .. }) = device(text).unwrap().origin else {
            panic!("{text} is no network card")
        };
        assert_eq!(backend, NetBackend::Loopback, "{text}");
    }
}

#[test]
fn errors_name_the_option_the_value_and_the_fix() {
    for (text, wanted) in [
        ("", "empty entry"),
        ("file=disk.img", "give one of soft=, vf= and vfio-user="),
        ("soft=net,loopback,vf=0000:41:00.3", "give one of soft=, vf= and vfio-user="),
        ("vf=41:00", "vf=41:00: \"41:00\" is not a PCI address"),
        ("vf=0000:41:00.3,token=abc", "token=abc: not a UUID"),
        ("vf=0000:41:00.3,admin=me", "admin=me: must be auto, pf or kernel"),
        ("vf=0000:41:00.3,mode=fast", "mode=fast: must be auto, group or cdev"),
        ("vf=0000:41:00.3,file=a", "unknown key 'file'"),
        ("vfio-user=a.sock", "needs pf-socket=PATH"),
        ("vfio-user=a.sock,pf-socket=b.sock", "needs member=N"),
        ("vfio-user=a.sock,pf-socket=b.sock,member=0", "member=0: must be 1 to 65535"),
        ("soft=scsi", "the devices are blk and net"),
        ("soft=blk", "needs file=PATH"),
        ("soft=blk,file=", "'file' needs a value"),
        ("soft=blk,file=a,file=b", "given twice"),
        ("soft=blk,file=a,readonly=maybe", "must be on or off"),
        (
            "soft=blk,file=a,tap=b",
            "unknown key 'tap'; the keys here are soft, vf, vfio-user, file, readonly, bootindex, deadline_ms, early, id, interface, irq, notify, rom, shadow",
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
    assert!(run(&["--kernel=k", "--firmware=f"]).unwrap_err().contains("cannot be used with"));
    for alone in ["--initrd=i", "--cmdline=c"] {
        assert!(run(&[alone]).unwrap_err().contains("--kernel"), "{alone}");
    }
}

#[test]
fn a_file_instead_of_options() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm.toml");
    std::fs::write(&path, "[payload]\nkernel = \"k\"\n[[legacy_virtio]]\nsoft.net.backend = \"loopback\"\n").unwrap();
    let path = path.to_str().unwrap();
    let config = run(&["--config", path, "--dry-run"]).unwrap().config().unwrap();
    assert_eq!(config.legacy_virtio.len(), 1);
    // What --dry-run prints is a configuration again, the same.
    let json = folder.path().join("vm.json");
    std::fs::write(&json, serde_json::to_string_pretty(&config).unwrap()).unwrap();
    assert_eq!(run(&["--config", json.to_str().unwrap()]).unwrap().config().unwrap(), config);
    for options in [["--memory", "1G"], ["--cmdline", "x"], ["--kernel", "k"], ["--cpus", "2"], ["--serial", "none"]] {
        let error = run(&[&["--config", path][..], &options].concat()).unwrap_err();
        assert!(error.contains("cannot be used with"), "{error}");
    }
    std::fs::write(path, "[payload]\nkernel = \"k\"\n[memory]\nsize = 1\n").unwrap();
    let error = run(&["--config", path]).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("memory.size") && error.contains("vm.toml"), "{error}");
    let error = run(&["--config", "/nonexistent"]).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("/nonexistent"), "{error}");
}

#[test]
fn every_verb_and_generator() {
    let ctl = |words: &[&str]| Cli::try_parse_from([&["heirloom", "ctl", "--api-socket", "s"], words].concat());
    for words in [
        &["ping"][..],
        &["create", "f"],
        &["boot"],
        &["pause"],
        &["resume"],
        &["shutdown"],
        &["reboot"],
        &["power-button"],
        &["delete"],
        &["info"],
        &["counters"],
        &["legacy"],
        &["legacy", "net0"],
        &["add-device", "soft=net,loopback"],
        &["remove-device", "net0"],
        &["probe"],
        &["metrics"],
        &["events"],
        &["add-device", "device", "vfio=0000:41:00.3"],
        &["trace"],
        &["shutdown-vmm"],
    ] {
        ctl(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
    for shell in ["bash", "zsh", "fish"] {
        let Command::Completions(args) = Cli::try_parse_from(["heirloom", "completions", shell]).unwrap().command
        else {
            panic!()
        };
        let mut script = Vec::new();
        args.write(&mut script).unwrap();
        assert!(String::from_utf8(script).unwrap().contains("power-button"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    let words = ["heirloom", "man", folder.path().to_str().unwrap()];
    let Command::Man(args) = Cli::try_parse_from(words).unwrap().command else { panic!() };
    args.write().unwrap();
    for page in ["heirloom.1", "heirloom-run.1", "heirloom-ctl.1", "heirloom-ctl-boot.1"] {
        assert!(std::fs::read_to_string(folder.path().join(page)).unwrap().starts_with(".ie"), "{page}");
    }
}

#[test]
fn vfs_of_the_host_and_of_other_processes() {
    let vf =
        device("vf=0000:41:00.3,pf=41:00.0,token=BD8D9D2B-5a5f-4f5a-a211-f591514ba1f3,admin=pf,mode=cdev,irq=msix");
    let vf = vf.unwrap();
    assert_eq!(vf.irq, InterruptMode::Msix);
    let VfOrigin::Host(host) = vf.origin else { panic!("no VF of the host") };
    assert_eq!((host.address.as_str(), host.pf.as_deref()), ("0000:41:00.3", Some("41:00.0")));
    assert_eq!((host.admin, host.mode), (AdminMode::Pf, VfioMode::Cdev));
    let served = device("vfio-user=d/vf0.sock,pf-socket=d/pf.sock,member=1").unwrap();
    let VfOrigin::Served(served) = served.origin else { panic!("no VF of another process") };
    assert_eq!((served.socket, served.pf_socket, served.member.get()), ("d/vf0.sock".into(), "d/pf.sock".into(), 1));
}

#[test]
fn functions_passed_through() {
    let parse = key_value::device;
    let vfio = parse("vfio=0000:41:00.3,id=gpu,mode=group").unwrap();
    assert_eq!(vfio.id.as_deref(), Some("gpu"));
    let function = VfioConfig { address: "0000:41:00.3".to_owned(), token: None, mode: VfioMode::Group };
    assert_eq!(vfio.origin, FunctionOrigin::Host(function));
    assert_eq!(parse("vfio-user=/run/vf0.sock").unwrap().origin, FunctionOrigin::Served("/run/vf0.sock".into()));
    for (text, wanted) in [
        ("id=a", "give one of vfio= and vfio-user="),
        ("vfio=0000:41:00.3,vfio-user=s", "give one of vfio= and vfio-user="),
        ("vfio=41", "vfio=41: \"41\" is not a PCI address"),
        ("vfio-user=s,token=x", "unknown key 'token'"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let args = run(&["--kernel=k", "--device", "vfio=0000:41:00.3", "--device", "vfio-user=s"]).unwrap();
    assert_eq!(args.config().unwrap().devices.len(), 2);
}

#[test]
fn e15_the_clock_shows_utc_or_local_time() {
    let rtc = |words: &[&str]| run(words).map(|args| args.config().unwrap().rtc);
    assert_eq!(rtc(&["--kernel=k"]).unwrap(), api::RtcBase::Utc);
    assert_eq!(rtc(&["--kernel=k", "--rtc=localtime"]).unwrap(), api::RtcBase::Localtime);
    assert!(rtc(&["--kernel=k", "--rtc=gmt"]).is_err());
}

#[test]
fn memory_and_its_options() {
    let memory = |text: &str| run(&["--kernel=k", "--memory", text]).map(|args| args.config().unwrap().memory);
    assert_eq!(memory("64M").unwrap(), MemoryConfig { size: 64 << 20, ..Default::default() });
    let all = memory("4G,hugepages=on,hugepage_size=1G,prefault=on,shared=on").unwrap();
    let expected = (true, Some(1 << 30), true, true);
    assert_eq!((all.hugepages, all.hugepage_size, all.prefault, all.shared), expected);
    assert!(memory("4G,huge=on").unwrap_err().contains("unknown key 'huge'"));
    assert!(memory("4G,prefault=maybe").unwrap_err().contains("must be on or off"));
    assert!(memory("4G,").unwrap_err().contains("empty entry"));
}

#[test]
fn a_trace_has_a_file_and_a_form() {
    use vmm::trace::{TraceFormat, TraceTarget};
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

#[test]
fn devices_to_add() {
    let add = |words: &[&str]| new_device(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let kind = |words: &[&str]| match add(words).unwrap() {
        NewDevice::LegacyVirtio(_) => "legacy",
        NewDevice::PassedThrough(_) => "passed",
    };
    for (words, expected) in [
        (&["soft=net,loopback"][..], "legacy"),
        (&["vf=0000:41:00.3"], "legacy"),
        (&["vfio-user=/s,pf-socket=/p,member=1"], "legacy"),
        (&["legacy-virtio", "soft=net,loopback"], "legacy"),
        (&["vfio=0000:41:00.3"], "passed"),
        (&["device", "vfio-user=/s"], "passed"),
    ] {
        assert_eq!(kind(words), expected, "{words:?}");
    }
    for (words, wanted) in [
        (&["soft=floppy"][..], "soft=floppy"),
        (&["vfio-user=/s"], "pf-socket"),
        (&["legacy-virtio", "vfio=0000:41:00.3"], "give one of soft="),
        (&["device", "soft=net,loopback"], "give one of vfio="),
        (&["disk", "soft=net,loopback"], "legacy-virtio"),
    ] {
        let error = add(words).unwrap_err();
        assert!(error.contains(wanted), "{words:?}: {error}");
    }
}
