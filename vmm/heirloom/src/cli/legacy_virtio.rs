// SPDX-License-Identifier: Apache-2.0
//! The value of `--legacy-virtio`.

use std::num::NonZeroU16;

use api::{
    AdminMode, EarlyKicks, InterruptMode, LegacyVirtioConfig, MacAddress, NetBackend, NotifyMode, SoftDevice, VfConfig,
    VfioMode, VfioUserVfConfig,
};
use devices::function::vfio::{Bdf, VfToken};

use super::options::Options;

/// Longest id; it is a label in reports and metrics.
const MAX_ID: usize = 32;

/// What a VF is.
enum Kind {
    Soft(SoftDevice),
    Vf(VfConfig),
    VfioUser(VfioUserVfConfig),
}

/// Parses `soft=blk,file=disk.img,...`, `vf=0000:41:00.3,...` or `vfio-user=SOCKET,...`.
pub fn parse(text: &str) -> Result<LegacyVirtioConfig, String> {
    let mut options = Options::parse(text)?;
    let (soft, vf, served) = (options.value("soft")?, options.value("vf")?, options.value("vfio-user")?);
    let kind = match (soft, vf, served) {
        (Some(kind), None, None) => Kind::Soft(soft_device(&kind, &mut options)?),
        (None, Some(address), None) => Kind::Vf(host_vf(address, &mut options)?),
        (None, None, Some(socket)) => Kind::VfioUser(served_vf(&socket, &mut options)?),
        _ => {
            return Err("give one of soft=, vf= and vfio-user=: soft=blk,file=PATH or soft=net,loopback or \
                        vf=0000:41:00.3 or vfio-user=SOCKET,pf-socket=SOCKET,member=N"
                .to_owned());
        }
    };
    let (soft, vf, vfio_user) = match kind {
        Kind::Soft(soft) => (Some(soft), None, None),
        Kind::Vf(vf) => (None, Some(vf), None),
        Kind::VfioUser(vf) => (None, None, Some(vf)),
    };
    let config = LegacyVirtioConfig {
        id: options.parsed("id", id)?,
        soft,
        vf,
        vfio_user,
        irq: options.parsed("irq", irq)?.unwrap_or_default(),
        notify: options.parsed("notify", notify)?.unwrap_or_default(),
        early: options.parsed("early", early)?.unwrap_or_default(),
        deadline_ms: options.parsed("deadline_ms", deadline_ms)?,
        shadow: options.parsed("shadow", on_or_off)?.unwrap_or(true),
    };
    options.finish()?;
    Ok(config)
}

fn soft_device(kind: &str, options: &mut Options) -> Result<SoftDevice, String> {
    match kind {
        "blk" => blk(options, "soft=blk"),
        "net" => net(options, "soft=net"),
        other => Err(format!("soft={other}: there is no such device; the devices are blk and net")),
    }
}

fn host_vf(vf: String, options: &mut Options) -> Result<VfConfig, String> {
    Ok(VfConfig {
        address: address(&vf).map_err(|error| format!("vf={vf}: {error}"))?,
        pf: options.parsed("pf", address)?,
        token: options.parsed("token", token)?,
        admin: options.parsed("admin", admin)?.unwrap_or_default(),
        mode: options.parsed("mode", mode)?.unwrap_or_default(),
    })
}

fn served_vf(socket: &str, options: &mut Options) -> Result<VfioUserVfConfig, String> {
    Ok(VfioUserVfConfig {
        socket: socket.into(),
        pf_socket: options
            .value("pf-socket")?
            .ok_or("vfio-user= needs pf-socket=PATH, the socket of the VF's PF")?
            .into(),
        member: options
            .parsed("member", member)?
            .ok_or("vfio-user= needs member=N, the VF's number at its PF, from 1")?,
    })
}

/// The address of a PCI function, as it was written.
pub(super) fn address(text: &str) -> Result<String, String> {
    text.parse::<Bdf>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// A VF token, as it was written.
pub(super) fn token(text: &str) -> Result<String, String> {
    text.parse::<VfToken>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// An interface of the kernel.
pub(super) fn mode(text: &str) -> Result<VfioMode, String> {
    match text {
        "auto" => Ok(VfioMode::Auto),
        "group" => Ok(VfioMode::Group),
        "cdev" => Ok(VfioMode::Cdev),
        _ => Err("must be auto, group or cdev".to_owned()),
    }
}

fn admin(text: &str) -> Result<AdminMode, String> {
    match text {
        "auto" => Ok(AdminMode::Auto),
        "pf" => Ok(AdminMode::Pf),
        "kernel" => Ok(AdminMode::Kernel),
        _ => Err("must be auto, pf or kernel".to_owned()),
    }
}

fn member(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| "must be 1 to 65535".to_owned())
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

/// An id.
pub(super) fn id(text: &str) -> Result<String, String> {
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

fn early(text: &str) -> Result<EarlyKicks, String> {
    match text {
        "auto" => Ok(EarlyKicks::Auto),
        "pass" => Ok(EarlyKicks::Pass),
        "start" => Ok(EarlyKicks::Start),
        _ => Err("must be auto, pass or start".to_owned()),
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
