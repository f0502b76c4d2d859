// SPDX-License-Identifier: Apache-2.0
//! The command line: words in, [`api::VmConfig`] out. It opens nothing and starts nothing.

mod legacy_virtio;
mod observe;
mod options;
mod trace;

use std::path::{Path, PathBuf};

use api::{
    ConsoleConfig, ConsoleMode, CpuProfile, CpusConfig, LegacyVirtioConfig, MemoryConfig, PayloadConfig, VmConfig,
};
pub use observe::ObserveArgs;
pub use trace::{SummarizeArgs, TraceArgs, TraceCommand};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Exit codes, in the help text because scripts depend on them.
const EXIT_CODES: &str = "\
Exit codes:
  0    the guest powered itself off
  1    an error inside heirloom
  2    bad usage: an option or a value is wrong, nothing was started
  3    set-up failed: a file, KVM or a device could not be used
  4    the guest crashed (the register dump is on standard error)
  5    the virtual machine was ended from the console (Ctrl-A X)
  6    the guest reset itself, with --no-reboot
  128+N  ended by signal N";

/// Heirloom: runs guests whose virtio drivers are legacy ones on modern-only virtual functions.
#[derive(Debug, Parser)]
#[command(name = "heirloom", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one virtual machine until it powers off
    Run(Box<RunArgs>),
    /// Look at traces of legacy accesses
    Trace(TraceArgs),
}

/// `heirloom run`
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = LONG_HELP)]
pub struct RunArgs {
    /// Linux kernel: bzImage, or uncompressed vmlinux
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    kernel: PathBuf,
    /// Initial RAM disk
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    initrd: Option<PathBuf>,
    /// Kernel command line
    #[arg(long, value_name = "TEXT", help_heading = "Guest", default_value = "console=ttyS0")]
    cmdline: String,
    /// Number of processors (1-64)
    #[arg(long, value_name = "N", help_heading = "Guest", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    cpus: u8,
    /// What processors the guest sees
    #[arg(long, value_enum, value_name = "PROFILE", help_heading = "Guest", default_value_t = Cpu::Host)]
    cpu: Cpu,
    /// Size of main memory, such as 512M or 4G
    #[arg(long, value_name = "SIZE", help_heading = "Guest", default_value = "512M", value_parser = api::parse_size)]
    memory: u64,
    /// End with exit code 6 when the guest resets itself, instead of starting it again
    #[arg(long, help_heading = "Guest")]
    no_reboot: bool,
    /// A legacy virtio function on a virtual function; may be repeated. See --help for its keys
    #[arg(long, value_name = "KEY=VALUE,...", help_heading = "Devices", value_parser = legacy_virtio::parse)]
    legacy_virtio: Vec<LegacyVirtioConfig>,
    /// Where the serial port goes: stdio, none, or a file that its output is written to
    #[arg(long, value_name = "stdio|FILE|none", help_heading = "Devices", default_value = "stdio")]
    serial: PathBuf,
    /// Write what the devices did to this file at exit ('-': standard output); may be repeated
    #[arg(long, value_name = "FILE|-", help_heading = "Reports")]
    report: Vec<PathBuf>,
    /// Form of the report; without it, a FILE ending in .json gets JSON and everything else text
    #[arg(long, value_enum, value_name = "FORM", help_heading = "Reports")]
    report_format: Option<ReportFormat>,
    /// Messages and events.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

const LONG_HELP: &str = concat!(
    "\
Keys of --legacy-virtio:
  soft=blk           a disk on a virtual function of the built-in software PF, with
    file=PATH          raw image or block device; a multiple of 512 bytes (required)
    readonly=on|off    the guest may not write (default off)
  soft=net           a network card on a virtual function of the built-in software PF, with
    tap=NAME           a tap interface that exists already; or
    loopback           answer ARP and ping inside heirloom, for tests without privileges
    mac=ADDRESS        default: 52:54:00:4c:56:NN, by position
  id=NAME            name in logs and reports (default: blk0, net1, ... by position)
  irq=auto|intx|msix what interrupts the guest is offered (default auto: both)
  notify=auto|ioeventfd|exit
                     how a queue notification travels (default auto: ioeventfd where possible)
  deadline_ms=N      how long one register access may take (default 100, 1-60000)
  shadow=on|off      answer register reads without a command where the answer is known (default on)
A comma inside a value is written twice.

Console: Ctrl-A X ends the virtual machine, Ctrl-A A sends a Ctrl-A.

Example:
  heirloom run --kernel vmlinuz --initrd initrd.img --memory 256M \\
    --cmdline 'console=ttyS0 virtio_pci.force_legacy=1' \\
    --legacy-virtio soft=blk,file=disk.img --legacy-virtio soft=net,loopback --report -

",
    "Exit codes: 0 guest powered off, 1 internal error, 2 bad usage, 3 set-up failed, 4 guest crashed,
5 ended by Ctrl-A X, 6 guest reset with --no-reboot, 128+N ended by signal N"
);

/// Value of `--cpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cpu {
    /// All that KVM offers
    Host,
    /// Without features that old kernels, or KVMs in software, trip over (XSAVE, CX16, ...)
    Legacy,
}

impl From<Cpu> for CpuProfile {
    fn from(cpu: Cpu) -> Self {
        match cpu {
            Cpu::Host => Self::Host,
            Cpu::Legacy => Self::Legacy,
        }
    }
}

/// Form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Where and how to report at exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportTarget {
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// Form.
    pub format: ReportFormat,
}

impl RunArgs {
    /// The machine these options describe.
    pub fn config(&self) -> VmConfig {
        VmConfig {
            payload: PayloadConfig {
                kernel: self.kernel.clone(),
                initramfs: self.initrd.clone(),
                cmdline: Some(self.cmdline.clone()),
            },
            cpus: CpusConfig { boot_vcpus: self.cpus, profile: self.cpu.into() },
            memory: MemoryConfig { size: self.memory },
            serial: match self.serial.to_str() {
                Some("stdio") => ConsoleConfig { mode: ConsoleMode::Tty, file: None },
                Some("none") => ConsoleConfig { mode: ConsoleMode::Off, file: None },
                _ => ConsoleConfig { mode: ConsoleMode::File, file: Some(self.serial.clone()) },
            },
            legacy_virtio: self.legacy_virtio.clone(),
        }
    }

    /// Where reports go.
    pub fn reports(&self) -> Vec<ReportTarget> {
        self.report.iter().map(|path| self.report_target(path)).collect()
    }

    fn report_target(&self, path: &Path) -> ReportTarget {
        let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
        let by_name = if json { ReportFormat::Json } else { ReportFormat::Text };
        ReportTarget {
            file: (path.as_os_str() != "-").then(|| path.to_owned()),
            format: self.report_format.unwrap_or(by_name),
        }
    }

    /// Whether a guest that resets itself ends the run.
    pub fn no_reboot(&self) -> bool {
        self.no_reboot
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
