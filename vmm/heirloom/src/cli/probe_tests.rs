// SPDX-License-Identifier: Apache-2.0

use clap::Parser;

use super::super::{Cli, Command};
use super::*;

fn parse(words: &str) -> Result<ProbeRequest, String> {
    match Cli::try_parse_from(words.split_whitespace()).map_err(|error| error.to_string())?.command {
        Command::Probe(args) => Ok(args.request()),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn targets() {
    let bdf = |text: &str| text.parse::<Bdf>().unwrap();
    for (words, target) in [
        ("heirloom probe", Target::Host),
        ("heirloom probe --all", Target::All),
        ("heirloom probe --vf 41:00.3", Target::Vf(bdf("0000:41:00.3"))),
        ("heirloom probe --pf 0000:41:00.0", Target::Pf(bdf("0000:41:00.0"))),
        ("heirloom probe --soft-pf builtin", Target::SoftBuiltin),
        ("heirloom probe --soft-pf /run/soft", Target::SoftSockets("/run/soft".into())),
    ] {
        assert_eq!(parse(words).unwrap().target, target, "{words}");
    }
    let request = parse("heirloom probe --all --deep --memory 4G").unwrap();
    assert_eq!((request.deep, request.memory), (true, 4 << 30));
    assert!(!parse("heirloom probe").unwrap().deep);
}

#[test]
fn one_target_at_a_time() {
    for words in
        ["heirloom probe --all --vf 41:00.3", "heirloom probe --pf 41:00.0 --soft-pf builtin", "heirloom probe --vf x"]
    {
        assert!(parse(words).is_err(), "{words}");
    }
}
