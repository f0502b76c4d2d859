// SPDX-License-Identifier: Apache-2.0

use clap::Parser;

use super::super::{Cli, Command};
use super::*;

fn parse(words: &str) -> Result<PfCommand, String> {
    match Cli::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?.command {
        Command::Pf(args) => Ok(args.command),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn all_words() {
    let token = "bd8d9d2b-5a5f-4f5a-a211-f591514ba1f3";
    let words = format!("heirloom pf prepare 41:00.0 --vfs 4 --token {token} --driver kernel --dry-run --json");
    let Ok(PfCommand::Prepare(args)) = parse(&words) else { panic!("{words}") };
    let request = args.request();
    assert_eq!((request.pf.to_string().as_str(), request.vfs), ("0000:41:00.0", 4));
    assert_eq!((request.owner, request.dry_run, args.json()), (Owner::Kernel, true, true));
    assert_eq!(request.token.as_deref(), Some(token));
    let Ok(PfCommand::Release(args)) = parse("heirloom pf release 0000:41:00.0") else { panic!() };
    assert!(!args.request().dry_run && !args.json());
}

#[test]
fn what_is_wrong_is_named() {
    for (words, says) in [
        ("heirloom pf prepare 0000:41:00.0", "--vfs"),
        ("heirloom pf prepare 0000:41:00.0 --vfs 0", "0 is not in"),
        ("heirloom pf prepare eth0 --vfs 1", "eth0"),
        ("heirloom pf prepare 0000:41:00.0 --vfs 1 --token 12", "UUID"),
        ("heirloom pf release", "ADDRESS"),
    ] {
        let error = parse(words).unwrap_err();
        assert!(error.contains(says), "{words}: {error}");
    }
}
