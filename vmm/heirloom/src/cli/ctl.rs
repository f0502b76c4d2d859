// SPDX-License-Identifier: Apache-2.0
//! `heirloom ctl`: the words. What they do is in [`crate::ctl`].

use std::path::PathBuf;

use api::NewDevice;
use api::operations::PauseClock;
use api::routes::{Content, Route};
use api::service::routes;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches, Subcommand, ValueEnum};

use super::key_value;

const HELP: &str = "\
Examples:
  heirloom ctl --api-socket vm.sock create vm.toml
  heirloom ctl --api-socket vm.sock boot
  heirloom ctl --api-socket vm.sock info
  heirloom ctl --api-socket vm.sock pause --clock stop
  heirloom ctl --api-socket vm.sock --json legacy net0 | jq '.[0].admin'
  heirloom ctl --api-socket vm.sock add-device soft=net,tap=tap1,id=lan
  heirloom ctl --api-socket vm.sock add-device legacy-virtio vf=0000:41:00.3
  heirloom ctl --api-socket vm.sock add-device device vfio=0000:42:00.0
  heirloom ctl --api-socket vm.sock events

Exit codes:
  0  done
  1  the server failed (status 500 and above), or does not answer as it should
  2  bad usage, or a file that cannot be read; nothing was sent
  3  nobody listens on the socket
  4  the server refused (status 400 to 499): the state, the configuration, no such device";

/// `heirloom ctl`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct CtlArgs {
    /// The socket of a running heirloom
    #[arg(long, value_name = "PATH")]
    pub api_socket: PathBuf,
    /// Print replies and errors as the JSON that came
    #[arg(long)]
    pub json: bool,
    /// What to ask.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Say which heirloom answers
    Ping,
    /// Make a virtual machine of a file, as `heirloom run --config` takes it; '-' is standard input
    Create {
        /// TOML if its name ends in .toml, else JSON
        #[arg(value_name = "FILE|-")]
        config: PathBuf,
    },
    /// Any other one of the API
    #[command(flatten)]
    Route(RouteVerb),
    /// Stop the guest's processors
    Pause {
        /// What the guest's clocks do meanwhile; old guests jump ahead where they run on
        #[arg(long, value_enum, value_name = "run|stop", default_value_t = Clock::Run)]
        clock: Clock,
    },
    /// Show configuration, state and devices
    Info,
    /// Show what devices and processors did, in numbers
    Counters,
    /// Print what is on the guest's text screen, or was when the guest ended
    Screen {
        /// With the colours of each character; for --json
        #[arg(long)]
        attributes: bool,
    },
    /// Show the legacy virtio functions in detail
    Legacy {
        /// Only this one
        id: Option<String>,
    },
    /// Add a device; the guest finds it at its next boot
    AddDevice {
        /// KEY=VALUE,... as for --legacy-virtio of 'heirloom run'; after the word 'device' as for its --device
        #[arg(value_name = "[legacy-virtio|device] KEY=VALUE,...", num_args = 1..=2, required = true)]
        device: Vec<String>,
    },
    /// Take a device away
    RemoveDevice {
        /// Its id
        id: String,
    },
    /// Look whether this host, or a PCI function of it, can be used
    Probe {
        /// Address of the function, or its path below /sys
        #[arg(group = "function")]
        path: Option<String>,
        /// This VF, and its PF
        #[arg(long, value_name = "ADDRESS", group = "function")]
        vf: Option<String>,
        /// This PF, and its VFs
        #[arg(long, value_name = "ADDRESS", group = "function")]
        pf: Option<String>,
    },
    /// Print everything that is measured, in Prometheus' format
    Metrics,
    /// Print what happens, one JSON object a line, until interrupted
    Events,
    /// Print accesses to legacy registers, one JSON object a line, until interrupted
    Trace {
        /// Of this device only
        id: Option<String>,
    },
    /// Remove the virtual machine and end the heirloom that answers
    ShutdownVmm,
}

/// Value of `--clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Clock {
    /// They run on
    Run,
    /// They stand still, but the real-time clock
    Stop,
}

impl From<Clock> for PauseClock {
    fn from(clock: Clock) -> Self {
        match clock {
            Clock::Run => Self::Run,
            Clock::Stop => Self::Stop,
        }
    }
}

/// Words that [`Verb`] has, because they say more than the API's documents or show replies in their own way.
const OWN: [&str; 8] = ["create", "pause", "info", "counters", "screen", "legacy", "add-device", "remove-device"];
/// The argument that carries a body.
const BODY: &str = "JSON";

/// Any other operation on the virtual machine: a new one in [`api::operations`] is a verb by itself. Its word is the end of
/// its path, its help the API's own; parameters are options, a body is JSON.
#[derive(Clone, Debug)]
pub(crate) struct RouteVerb {
    /// What to ask.
    pub route: &'static Route,
    /// Parameters that were given.
    pub parameters: Vec<(&'static str, String)>,
    /// The body, as it was given.
    pub body: Option<String>,
}

impl RouteVerb {
    fn all() -> impl Iterator<Item = (&'static str, &'static Route)> {
        let is_stream = |route: &Route| route.output.successes.iter().any(|s| matches!(s.content, Content::Lines(_)));
        let of_the_machine = |route: &'static Route| Some((route.name().strip_prefix("vm.")?, route));
        let all = routes().filter(move |route| !is_stream(route)).filter_map(of_the_machine);
        all.filter(|(word, _)| !OWN.contains(word))
    }

    pub(crate) fn command(word: &'static str, route: &'static Route) -> Command {
        let options =
            route.input.parameters.iter().map(|parameter| {
                Arg::new(parameter.name).long(parameter.name).value_name("VALUE").help(parameter.text)
            });
        let body = route
            .input
            .body
            .map(|body| Arg::new(BODY).required(true).help(format!("The {} of the request", (body.name)())));
        Command::new(word).about(route.words.summary).args(options).args(body)
    }

    pub(crate) fn of(route: &'static Route, matches: &ArgMatches) -> Self {
        let given = |name: &str| matches.get_one::<String>(name).cloned();
        let parameters = route.input.parameters.iter().map(|parameter| parameter.name);
        let parameters = parameters.filter_map(|name| Some((name, given(name)?))).collect();
        Self { route, parameters, body: route.input.body.and_then(|_| given(BODY)) }
    }
}

impl FromArgMatches for RouteVerb {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let found = matches.subcommand().and_then(|(given, matches)| {
            let (_, route) = Self::all().find(|(word, _)| *word == given)?;
            Some(Self::of(route, matches))
        });
        found.ok_or_else(|| Error::new(ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for RouteVerb {
    fn augment_subcommands(command: Command) -> Command {
        command.subcommands(Self::all().map(|(word, route)| Self::command(word, route)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Self::all().any(|(word, _)| word == name)
    }
}

/// The device that the words after `add-device` describe. Without a kind before them they are a legacy virtio
/// function's; `vfio=`, which is none, is a function passed through.
pub(crate) fn new_device(words: &[String]) -> Result<NewDevice, String> {
    let legacy = |text: &str| key_value::legacy_virtio(text).map(NewDevice::LegacyVirtio);
    let passed = |text: &str| key_value::device(text).map(NewDevice::PassedThrough);
    match words {
        [text] if text.split(',').any(|option| option.starts_with("vfio=")) => passed(text),
        [text] => legacy(text),
        [kind, text] if kind == "legacy-virtio" => legacy(text),
        [kind, text] if kind == "device" => passed(text),
        _ => Err("write [legacy-virtio] KEY=VALUE,... or device KEY=VALUE,...".to_owned()),
    }
}
