// SPDX-License-Identifier: Apache-2.0
//! `heirloom ctl`: the words. What they do is in [`crate::ctl`].

use std::path::PathBuf;

use api::LegacyVirtioConfig;
use clap::{Args, Subcommand};

use super::legacy_virtio;

const HELP: &str = "\
Examples:
  heirloom ctl --api-socket vm.sock create vm.toml
  heirloom ctl --api-socket vm.sock boot
  heirloom ctl --api-socket vm.sock info
  heirloom ctl --api-socket vm.sock --json legacy net0 | jq '.[0].admin'
  heirloom ctl --api-socket vm.sock add-device soft=net,tap=tap1,id=lan
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
pub struct CtlArgs {
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
pub enum Verb {
    /// Say which heirloom answers
    Ping,
    /// Make a virtual machine of a file, as `heirloom run --config` takes it; '-' is standard input
    Create {
        /// TOML if its name ends in .toml, else JSON
        #[arg(value_name = "FILE|-")]
        config: PathBuf,
    },
    /// Start the guest
    Boot,
    /// Stop the guest's processors
    Pause,
    /// Let the guest's processors go on
    Resume,
    /// End the guest, as a power cut does
    Shutdown,
    /// End the guest and start it again
    Reboot,
    /// Press the guest's power button
    PowerButton,
    /// Remove the virtual machine
    Delete,
    /// Show configuration, state and devices
    Info,
    /// Show what devices and processors did, in numbers
    Counters,
    /// Show the legacy virtio functions in detail
    Legacy {
        /// This one alone
        id: Option<String>,
    },
    /// Add a device; the guest finds it at its next boot
    AddDevice {
        /// As for --legacy-virtio of 'heirloom run'
        #[arg(value_name = "KEY=VALUE,...", value_parser = legacy_virtio::parse)]
        device: LegacyVirtioConfig,
    },
    /// Take a device away
    RemoveDevice {
        /// Its id
        id: String,
    },
    /// Look whether this host, or a PCI function of it, can be used
    Probe {
        /// Address of the function, or its path below /sys
        path: Option<String>,
    },
    /// Print everything that is measured, in Prometheus' format
    Metrics,
    /// Print what happens, one JSON object a line, until interrupted
    Events,
    /// Print accesses to legacy registers, one JSON object a line, until interrupted
    Trace {
        /// Of this device alone
        id: Option<String>,
    },
    /// Remove the virtual machine and end the heirloom that answers
    ShutdownVmm,
}
