// SPDX-License-Identifier: Apache-2.0
//! The value of `--legacy-virtio`.

use api::{InterruptMode, LegacyVirtioConfig, MacAddress, NetBackend, NotifyMode, SoftDevice};

use super::options::Options;

/// Longest id; it is a label in reports and metrics.
const MAX_ID: usize = 32;

/// Parses `soft=blk,file=disk.img,...`.
pub fn parse(text: &str) -> Result<LegacyVirtioConfig, String> {
    let mut options = Options::parse(text)?;
    let kind =
        options.value("soft")?.ok_or("the key 'soft' is missing: write soft=blk,file=PATH or soft=net,loopback")?;
    let soft = match kind.as_str() {
        "blk" => blk(&mut options, "soft=blk")?,
        "net" => net(&mut options, "soft=net")?,
        other => return Err(format!("soft={other}: there is no such device; the devices are blk and net")),
    };
    let config = LegacyVirtioConfig {
        id: options.parsed("id", id)?,
        soft,
        irq: options.parsed("irq", irq)?.unwrap_or_default(),
        notify: options.parsed("notify", notify)?.unwrap_or_default(),
        deadline_ms: options.parsed("deadline_ms", deadline_ms)?,
        shadow: options.parsed("shadow", on_or_off)?.unwrap_or(true),
    };
    options.finish()?;
    Ok(config)
}

/// The keys of a disk. `what` is what was written to get one.
pub(super) fn blk(options: &mut Options, what: &str) -> Result<SoftDevice, String> {
    let file = options.value("file")?.ok_or_else(|| format!("{what} needs file=PATH"))?;
    Ok(SoftDevice::Blk { file: file.into(), readonly: options.switch("readonly")? })
}

/// The keys of a network card.
pub(super) fn net(options: &mut Options, what: &str) -> Result<SoftDevice, String> {
    let tap = options.value("tap")?;
    let backend = match (tap, options.switch("loopback")?) {
        (Some(_), true) => return Err(format!("{what} takes tap=NAME or loopback, not both")),
        // Easily written this way round, and no tap would be called so.
        (Some(tap), false) if tap == "loopback" => NetBackend::Loopback,
        (Some(tap), false) => NetBackend::Tap(tap),
        (None, true) => NetBackend::Loopback,
        (None, false) => return Err(format!("{what} needs tap=NAME or loopback")),
    };
    let mac = options.parsed("mac", |text| text.parse::<MacAddress>().map_err(|e| e.to_string()))?;
    Ok(SoftDevice::Net { backend, mac })
}

fn id(text: &str) -> Result<String, String> {
    let fits = text.len() <= MAX_ID && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("an id has at most {MAX_ID} letters, digits, '-', '_' and '.'"))
    }
}

fn irq(text: &str) -> Result<InterruptMode, String> {
    match text {
        "auto" => Ok(InterruptMode::Auto),
        "intx" => Ok(InterruptMode::Intx),
        "msix" => Ok(InterruptMode::Msix),
        _ => Err("must be auto, intx or msix".to_owned()),
    }
}

fn notify(text: &str) -> Result<NotifyMode, String> {
    match text {
        "auto" => Ok(NotifyMode::Auto),
        "ioeventfd" => Ok(NotifyMode::Ioeventfd),
        "exit" => Ok(NotifyMode::Exit),
        _ => Err("must be auto, ioeventfd or exit".to_owned()),
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}

fn deadline_ms(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(ms @ 1..=60_000) => Ok(ms),
        _ => Err("must be a number of milliseconds, 1 to 60000".to_owned()),
    }
}
