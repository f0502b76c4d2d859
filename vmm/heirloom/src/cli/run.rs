// SPDX-License-Identifier: Apache-2.0
//! `heirloom run`.

use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use api::options::{DEVICE, LEGACY_VIRTIO, MEMORY, SMBIOS};
use api::{
    BootProtocol, ConsoleConfig, ConsoleMode, CpuProfile, CpusConfig, DeviceConfig, LegacyVirtioConfig, MAX_VCPUS,
    MemoryConfig, PayloadConfig, RtcBase, ScreenConfig, ScreenMode, SmbiosConfig, VmConfig, format_size,
};
use clap::{Args, ValueEnum};
use vmm::config::{self, ConfigError};

use super::{Allowed, EXIT_CODES, ObserveArgs, SandboxArgs, key_value};
use crate::report::{ReportFormat, ReportTarget};

/// `heirloom run`
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = long_help())]
pub(crate) struct RunArgs {
    /// Take the whole machine from this file, which is exactly the body of vm.create: TOML if its name
    /// ends in .toml, else JSON
    #[arg(long, value_name = "FILE", help_heading = "Guest")]
    config: Option<PathBuf>,
    /// Print the machine as the body of vm.create, and start nothing
    #[arg(long, help_heading = "Guest")]
    dry_run: bool,
    /// Linux kernel to start directly: bzImage, zImage, or uncompressed vmlinux
    #[arg(long, conflicts_with = "config", value_name = "FILE", help_heading = "Guest")]
    kernel: Option<PathBuf>,
    /// PC firmware that starts what it finds on the disks [default without --kernel: the SeaBIOS that is installed]
    #[arg(long, conflicts_with_all = ["config", "kernel"], value_name = "FILE", help_heading = "Guest")]
    firmware: Option<PathBuf>,
    /// Wait for Escape, which calls the firmware's menu of boot devices: for N seconds (1-255), 3 without a number
    #[arg(long, conflicts_with_all = ["config", "kernel"], value_name = "N", help_heading = "Guest", num_args = 0..=1, require_equals = true, default_missing_value = "3")]
    boot_menu: Option<NonZeroU8>,
    /// Initial RAM disk
    #[arg(long, conflicts_with = "config", requires = "kernel", value_name = "FILE", help_heading = "Guest")]
    initrd: Option<PathBuf>,
    /// Kernel command line [default: console=ttyS0]
    #[arg(long, conflicts_with = "config", requires = "kernel", value_name = "TEXT", help_heading = "Guest")]
    cmdline: Option<String>,
    /// How to enter the kernel; by itself the 64-bit entry where there is one
    #[arg(
        long,
        conflicts_with = "config",
        requires = "kernel",
        value_enum,
        value_name = "PROTOCOL",
        help_heading = "Guest"
    )]
    boot: Option<Boot>,
    /// What the machine says of itself in its SMBIOS tables. See --help for its keys
    #[arg(long, conflicts_with = "config", value_name = "KEY=VALUE,...", help_heading = "Guest", value_parser = key_value::smbios)]
    smbios: Option<SmbiosConfig>,
    /// What the real-time clock shows before a guest sets it
    #[arg(long, conflicts_with = "config", value_enum, value_name = "BASE", help_heading = "Guest", default_value_t = Rtc::Utc)]
    rtc: Rtc,
    #[arg(long, help = format!("Number of processors (1-{MAX_VCPUS})"), conflicts_with = "config", value_name = "N", help_heading = "Guest", default_value_t = CpusConfig::default().boot_vcpus, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_VCPUS)))]
    cpus: u8,
    /// What processors the guest sees
    #[arg(long, conflicts_with = "config", value_enum, value_name = "PROFILE", help_heading = "Guest", default_value_t = Cpu::Host)]
    cpu: Cpu,
    /// Size of main memory, such as 512M or 4G, and where it comes from. See --help for its keys
    #[arg(long, conflicts_with = "config", value_name = "SIZE[,KEY=VALUE...]", help_heading = "Guest", default_value = default_memory(), value_parser = key_value::memory)]
    memory: MemoryConfig,
    /// End with exit code 6 when the guest resets itself, instead of starting it again
    #[arg(long, help_heading = "Guest")]
    no_reboot: bool,
    /// A legacy virtio function on a virtual function; may be repeated. See --help for its keys
    #[arg(long, conflicts_with = "config", value_name = "KEY=VALUE,...", help_heading = "Devices", value_parser = key_value::legacy_virtio)]
    legacy_virtio: Vec<LegacyVirtioConfig>,
    /// A PCI function that the guest gets as it is; may be repeated. See --help for its keys
    #[arg(long, conflicts_with = "config", value_name = "KEY=VALUE,...", help_heading = "Devices", value_parser = key_value::device)]
    device: Vec<DeviceConfig>,
    /// Where the serial port goes: stdio, none, or a file that its output is written to
    #[arg(
        long,
        conflicts_with = "config",
        value_name = "stdio|FILE|none",
        help_heading = "Devices",
        default_value = "stdio",
        default_value_if("console", "text", "none")
    )]
    serial: PathBuf,
    /// What this terminal shows: the serial port, or the guest's text screen, with its keyboard
    #[arg(
        long,
        conflicts_with = "config",
        value_enum,
        value_name = "WHAT",
        help_heading = "Devices",
        default_value_t = Terminal::Serial
    )]
    console: Terminal,
    /// Whether there is a text screen: a VGA without graphics, which 'heirloom ctl screen' shows [default: on where
    /// firmware starts the machine]
    #[arg(long, conflicts_with = "config", value_enum, value_name = "on|off", help_heading = "Devices")]
    vga: Option<Switch>,
    /// Write what the devices did to this file at exit ('-': standard output); may be repeated
    #[arg(long, value_name = "FILE|-", help_heading = "Reports")]
    report: Vec<PathBuf>,
    /// Form of the report; without it, a FILE ending in .json gets JSON and everything else text
    #[arg(long, value_enum, value_name = "FORM", help_heading = "Reports")]
    report_format: Option<ReportFormat>,
    /// Answer requests on this socket as long as the guest runs
    #[arg(long, value_name = "PATH", help_heading = "API")]
    api_socket: Option<PathBuf>,
    /// Let the API name this file or folder, too (with :rw to write it); may be repeated
    #[arg(long, value_name = "PATH[:rw]", help_heading = "Sandbox")]
    allow: Vec<Allowed>,
    /// What this process may still do.
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    /// Messages and events.
    #[command(flatten)]
    pub observe: ObserveArgs,
}

/// Command line of a kernel that is given none: its messages go to the serial port.
const CMDLINE: &str = "console=ttyS0";

/// What `--help` says at its end.
fn long_help() -> String {
    let mut text = String::new();
    for (option, keys) in [
        ("--legacy-virtio", LEGACY_VIRTIO.help()),
        ("--device", DEVICE.help()),
        ("--memory", MEMORY.help()),
        ("--smbios", SMBIOS.help()),
    ] {
        text.push_str(&format!("Keys of {option}:\n{keys}\n"));
    }
    format!("{text}{}\n\n{LONG_HELP}", key_value::COMMAS)
}

/// The size of memory where none is given.
fn default_memory() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| format_size(MemoryConfig::default().size));
    &TEXT
}

const LONG_HELP: &str = "\
Console: Ctrl-A X ends the virtual machine, Ctrl-A A sends a Ctrl-A, Ctrl-A B a break (SysRq), Ctrl-A R draws
the text screen anew.

Example:
  heirloom run --kernel vmlinuz --initrd initrd.img --memory 256M \\
    --cmdline 'console=ttyS0 virtio_pci.force_legacy=1' \\
    --legacy-virtio soft=blk,file=disk.img --legacy-virtio soft=net,loopback --report -

Exit codes: 0 guest powered off, 1 internal error, 2 bad usage, 3 set-up failed, 4 guest crashed,
5 ended by Ctrl-A X, 6 guest reset with --no-reboot, 128+N ended by signal N";

/// Value of `--boot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Boot {
    /// The 64-bit entry where the image has one; PVH for a 32-bit ELF image with its note
    Auto,
    /// Linux's 64-bit entry: bzImages since Linux 3.8, 64-bit ELF images
    Linux64,
    /// Linux's 32-bit entry: every bzImage and zImage, 32-bit ELF images
    Linux32,
    /// PVH: ELF images with its note
    Pvh,
}

impl From<Boot> for BootProtocol {
    fn from(boot: Boot) -> Self {
        match boot {
            Boot::Auto => Self::Auto,
            Boot::Linux64 => Self::Linux64,
            Boot::Linux32 => Self::Linux32,
            Boot::Pvh => Self::Pvh,
        }
    }
}

/// Value of `--rtc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rtc {
    /// UTC, as Linux and the BSDs expect
    Utc,
    /// The host's local time, as DOS and Windows expect
    Localtime,
}

impl From<Rtc> for RtcBase {
    fn from(rtc: Rtc) -> Self {
        match rtc {
            Rtc::Utc => Self::Utc,
            Rtc::Localtime => Self::Localtime,
        }
    }
}

/// Value of `--console`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Terminal {
    /// The serial port; see --serial
    Serial,
    /// The text screen, on all of the terminal; --serial is 'none' by itself then
    Text,
}

/// Value of `--vga`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Value of `--cpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cpu {
    /// All that KVM offers
    Host,
    /// Without features that old kernels, or KVMs in software, trip over (XSAVE, CX16, ...)
    Legacy,
    /// A 32-bit processor of 2001: Pentium III or Athlon, as the host is Intel's or AMD's
    #[value(name = "i686-2001")]
    I686Of2001,
    /// A processor of 2006: Core 2, or Opteron of family 15
    #[value(name = "x86_64-2006")]
    X8664Of2006,
    /// A processor of 2010: Xeon (Westmere), or Opteron of family 16
    #[value(name = "x86_64-2010")]
    X8664Of2010,
}

impl From<Cpu> for CpuProfile {
    fn from(cpu: Cpu) -> Self {
        match cpu {
            Cpu::Host => Self::Host,
            Cpu::Legacy => Self::Legacy,
            Cpu::I686Of2001 => Self::I686Of2001,
            Cpu::X8664Of2006 => Self::X8664Of2006,
            Cpu::X8664Of2010 => Self::X8664Of2010,
        }
    }
}

impl RunArgs {
    /// The machine these options describe.
    ///
    /// # Errors
    /// The file of `--config` cannot be read, or is none.
    pub(crate) fn config(&self) -> Result<VmConfig, ConfigError> {
        match &self.config {
            Some(path) => config::read_file(path),
            None if self.console == Terminal::Text && self.vga == Some(Switch::Off) => {
                Err(ConfigError::Usage("--console text shows a screen, and --vga off leaves none".to_owned()))
            }
            None => Ok(self.config_of_options()),
        }
    }

    fn config_of_options(&self) -> VmConfig {
        VmConfig {
            payload: PayloadConfig {
                kernel: self.kernel.clone(),
                firmware: self.firmware.clone(),
                initramfs: self.initrd.clone(),
                cmdline: self.kernel.is_some().then(|| self.cmdline.clone().unwrap_or_else(|| CMDLINE.to_owned())),
                boot: self.boot.map_or(BootProtocol::Auto, Into::into),
                boot_menu: self.boot_menu,
            },
            cpus: CpusConfig { boot_vcpus: self.cpus, profile: self.cpu.into() },
            memory: self.memory,
            serial: match self.serial.to_str() {
                Some("stdio") => ConsoleConfig { mode: ConsoleMode::Tty, file: None },
                Some("none") => ConsoleConfig { mode: ConsoleMode::Off, file: None },
                _ => ConsoleConfig { mode: ConsoleMode::File, file: Some(self.serial.clone()) },
            },
            screen: ScreenConfig {
                mode: match (self.console, self.vga) {
                    (Terminal::Text, _) => ScreenMode::Tty,
                    (Terminal::Serial, None) => ScreenMode::Auto,
                    (Terminal::Serial, Some(Switch::On)) => ScreenMode::On,
                    (Terminal::Serial, Some(Switch::Off)) => ScreenMode::Off,
                },
            },
            smbios: self.smbios.clone().unwrap_or_default(),
            rtc: self.rtc.into(),
            legacy_virtio: self.legacy_virtio.clone(),
            devices: self.device.clone(),
        }
    }

    /// Where reports go.
    pub(crate) fn reports(&self) -> Vec<ReportTarget> {
        self.report.iter().map(|path| ReportTarget::new(path, self.report_format)).collect()
    }

    /// Whether the machine is only to be shown.
    pub(crate) fn dry_run(&self) -> bool {
        self.dry_run
    }

    /// Where requests come in.
    pub(crate) fn api_socket(&self) -> Option<&Path> {
        self.api_socket.as_deref()
    }

    /// What the API may name beside what the machine is made of.
    pub(crate) fn allowed(&self) -> &[Allowed] {
        &self.allow
    }

    /// Whether a guest that resets itself ends the run.
    pub(crate) fn no_reboot(&self) -> bool {
        self.no_reboot
    }
}
