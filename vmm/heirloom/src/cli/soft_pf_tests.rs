// SPDX-License-Identifier: Apache-2.0
use api::NetBackend;
use clap::Parser;

use super::super::{Cli, Command};
use super::*;

fn soft_pf(words: &[&str]) -> Result<SoftPfArgs, String> {
    let cli = Cli::try_parse_from([&["heirloom", "soft-pf"], words].concat()).map_err(|e| e.to_string())?;
    match cli.command {
        Command::SoftPf(args) => Ok(args),
        other => Err(format!("another command: {other:?}")),
    }
}

#[test]
fn a_whole_command_line() {
    let words = ["--socket-dir=d", "--vf", "net,loopback", "--vf", "net,tap=tap0,mac=02:00:00:00:00:01"];
    let args = soft_pf(&[&words[..], &["--hidden-vf=ones", "--report=r.json", "-vv"]].concat()).unwrap();
    assert_eq!(args.socket_dir(), "d");
    assert_eq!(args.vfs()[0], SoftDevice::Net { backend: NetBackend::Loopback, mac: None });
    let mac = Some("02:00:00:00:00:01".parse().unwrap());
    assert_eq!(args.vfs()[1], SoftDevice::Net { backend: NetBackend::Tap("tap0".to_owned()), mac });
    assert_eq!((args.pf(), args.mixed(), args.hidden_vf(), args.log().verbosity), (None, false, HiddenVf::Ones, 2));
    assert_eq!(args.reports()[0].format, ReportFormat::Json);
    let args = soft_pf(&["--socket-dir=d", "--vf=blk,file=a,,b,readonly", "--pf=blk,file=c"]).unwrap();
    assert_eq!(args.vfs()[0], SoftDevice::Blk { file: "a,b".into(), readonly: true });
    assert_eq!(args.pf(), Some(&SoftDevice::Blk { file: "c".into(), readonly: false }));
    assert_eq!((args.hidden_vf(), args.quirks()), (HiddenVf::Readable, &[][..]));
    let args = soft_pf(&["--socket-dir=d", "--vf=net,loopback", "--quirk=loses-early-kicks"]).unwrap();
    assert_eq!(args.quirks(), [SoftQuirk::LosesEarlyKicks]);
}

#[test]
fn what_is_wrong_is_named() {
    let error = |vf: &str| soft_pf(&["--socket-dir=d", "--vf", vf]).unwrap_err();
    assert!(error("file=x").contains("must begin with blk or net"));
    assert!(error("blk,net,file=x").contains("must begin with blk or net"));
    assert!(error("blk").contains("blk needs file=PATH"));
    assert!(error("net").contains("net needs tap=NAME or loopback"));
    assert!(error("net,loopback,file=x").contains("unknown key 'file'"));
    assert!(soft_pf(&["--socket-dir=d"]).unwrap_err().contains("--vf"));
    assert!(soft_pf(&["--vf=net,loopback"]).unwrap_err().contains("--socket-dir"));
}
