// SPDX-License-Identifier: Apache-2.0
//! What only an open PF tells: its administration queue, its commands, and for each VF notify addresses and queue
//! sizes. The PF is started as for a guest and stopped again. A VF that nobody uses has its queues looked at by its legacy
//! registers, which leaves its queue selection at 0 and nothing else; a disk is opened and asked for a sector besides.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use devices::admin::wire::{CommandList, NOTIFY_INFO_LEN, NotifyEntry, NotifyInfo};
use devices::admin::{
    AdminChannel, AdminError, AdminRegisters, Command, NotifyBars, PfDriver, opcode, usable_addresses,
};
use devices::bus::Width;
use devices::contract::{Area, LegacyRegisters, NotifyAddress, RegisterError, Wait};
use devices::function::PciFunction;
use devices::function::vfio::{Bdf, DmaSpace, OpenOptions, VfToken, VfioFunction};
use devices::spec::virtio::legacy::{QUEUE_SELECT, QUEUE_SIZE};
use devices::transitional::MAX_QUEUES;

use super::ProbeRequest;
use super::checks::{Checks, chain};
use super::early;

/// How long starting a PF, and all that is asked of it, may take.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// The longest queues that firmware of guests takes by the legacy interface: MAX_QUEUE_NUM of SeaBIOS since 1.13
/// (src/hw/virtio-ring.h), and of iPXE.
const FIRMWARE: u32 = 256;
/// The same of older SeaBIOS.
const OLD_SEABIOS: u32 = 128;

/// Opcodes that a list of ours can show.
const OPCODES: u16 = 64;

/// A VF, as its PF is asked about it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its name in results.
    pub name: String,
    /// Its number.
    pub number: NonZeroU16,
    /// What it has.
    pub resources: Resources,
    /// It is a disk.
    pub is_disk: bool,
    /// Nobody uses it.
    pub is_idle: bool,
}

/// What a VF has for its driver.
#[derive(Clone, Debug)]
pub(super) struct Resources {
    /// Bytes of its BARs.
    pub sizes: Vec<Option<u64>>,
    /// MSI-X vectors, if they are known.
    pub vectors: Option<u16>,
}

/// A PF of this host.
pub(super) fn host_pf(checks: &mut Checks, request: &ProbeRequest, pf: Bdf, members: &[Member]) {
    checks.about(pf);
    // PF and VFs are opened with one token, which may be one that nobody else has.
    let token = request.token.map_or_else(token, Ok);
    let token = match token {
        Ok(token) => token,
        Err(error) => return checks.unknown("admin_queue", format!("no random token: {error}"), None),
    };
    let space = DmaSpace::with_progress(None, |_| {});
    let open = |bdf: Bdf| {
        let options = OpenOptions { token: Some(token), paths: request.paths.clone(), ..OpenOptions::new(bdf) };
        VfioFunction::open(&space, &options)
    };
    let open_member = |member: &Member| {
        let bdf = member.name.parse::<Bdf>().map_err(|error| error.to_string())?;
        Ok(Arc::new(open(bdf).map_err(|error| chain(&error))?) as Arc<dyn PciFunction>)
    };
    match open(pf) {
        Ok(function) => ask(checks, Arc::new(function), None, members, &open_member, LIMIT),
        Err(error) => {
            checks.unknown("admin_queue", format!("the PF cannot be opened: {}", chain(&error)), None);
        }
    }
}

fn token() -> std::io::Result<VfToken> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(VfToken::from_bytes(bytes))
}

/// Opens a VF.
pub(super) type OpenMember<'a> = &'a dyn Fn(&Member) -> Result<Arc<dyn PciFunction>, String>;

/// Starts the PF, enables `vfs` of its VFs if nobody else does, asks, and stops it.
pub(super) fn ask(
    checks: &mut Checks,
    pf: Arc<dyn PciFunction>,
    vfs: Option<u16>,
    members: &[Member],
    open: OpenMember<'_>,
    limit: Duration,
) {
    let cancelled = AtomicBool::new(false);
    let wait = Wait { deadline: Instant::now() + limit, cancelled: &cancelled };
    let driver = match PfDriver::start(Arc::clone(&pf), wait.deadline) {
        Ok(driver) => Arc::new(driver),
        Err(error) => {
            let fix = "switch the administration virtqueue on in the device's firmware, or update the firmware; 'heirloom run' will not start either";
            return checks.fail("admin_queue", chain(&error), fix);
        }
    };
    checks.pass("admin_queue", "offered, and it runs");
    if let Some(Err(error)) = vfs.map(|count| driver.enable_vfs(count)) {
        return checks.fail("vfs", chain(&error), "give the software PF as many VFs as there are sockets");
    }
    if let Err(error) = driver.negotiate_commands(&wait) {
        return checks.fail("admin_commands", chain(&error), "update the device's firmware");
    }
    commands(checks, &driver, &wait);
    for member in members {
        checks.about(&member.name);
        if driver.supports_legacy() {
            notify_info(checks, &driver, &*pf, member, &wait);
            queue_sizes(checks, &driver, member, &wait);
            early_kicks(checks, &driver, member, open, limit);
        }
    }
}

fn command(
    driver: &PfDriver,
    opcode: u16,
    member_id: u64,
    result: &mut [u8],
    wait: &Wait<'_>,
) -> Result<(), AdminError> {
    let command = Command { opcode, group_type: opcode::GROUP_SRIOV, member_id, data: &[] };
    match driver.execute(&command, result, wait) {
        // What did not come is zero.
        Err(AdminError::Short { got: 8.., .. }) => Ok(()),
        other => other,
    }
}

fn commands(checks: &mut Checks, driver: &PfDriver, wait: &Wait<'_>) {
    let mut word = [0; 8];
    let listed = match command(driver, opcode::LIST_QUERY, 0, &mut word, wait) {
        Ok(()) => CommandList::from_word(u64::from_le_bytes(word)),
        Err(error) => {
            let fix = "enable VFs first: some devices list nothing without them";
            return checks.unknown("admin_commands", chain(&error), Some(fix));
        }
    };
    let all: Vec<_> = (0..OPCODES).filter(|opcode| listed.contains(*opcode)).collect();
    let text = all.iter().map(|&opcode| format!("{opcode:#x} {}", opcode::name(opcode))).collect::<Vec<_>>().join(", ");
    if driver.supports_legacy() {
        checks.pass("admin_commands", format!("listed: {text}"));
    } else {
        let fix = "switch legacy register access for VFs on in the device's firmware (opcodes 0x2 to 0x5)";
        checks.fail("admin_commands", format!("the legacy commands are not in use; listed: {text}"), fix);
    }
}

fn notify_info(checks: &mut Checks, driver: &PfDriver, pf: &dyn PciFunction, member: &Member, wait: &Wait<'_>) {
    const SLOW: &str = "nothing needs to be done; kicks are slower than they could be";
    if !driver.supports(opcode::LEGACY_NOTIFY_INFO) {
        return checks.warn("notify_info", "not offered: each kick is an administration command", SLOW);
    }
    let mut result = [0; NOTIFY_INFO_LEN];
    if let Err(error) = command(driver, opcode::LEGACY_NOTIFY_INFO, member.number.get().into(), &mut result, wait) {
        return checks.warn("notify_info", format!("{}; each kick is an administration command", chain(&error)), SLOW);
    }
    let info = NotifyInfo::parse(&result);
    let owner = match NotifyBars::of(pf) {
        Ok(bars) => bars,
        Err(error) => return checks.unknown("notify_info", chain(&error), None),
    };
    let listed: Vec<_> = info.entries.iter().take_while(|entry| entry.flags != NotifyEntry::END).collect();
    let usable = usable_addresses(&info, &owner, &NotifyBars::of_sizes(&member.resources.sizes));
    let text = listed.iter().map(|entry| show(entry)).collect::<Vec<_>>().join(", ");
    let text = if listed.is_empty() { "none".to_owned() } else { text };
    let listed = format!("listed: {text}; {} of {} can be used", usable.len(), listed.len());
    match usable.first() {
        Some(NotifyAddress::Member { .. }) => {
            checks.pass("notify_info", format!("{listed}; kicks go to the VF without an exit"))
        }
        Some(NotifyAddress::Owner { .. }) => {
            checks.pass("notify_info", format!("{listed}; kicks are made by heirloom through the PF's BAR"))
        }
        None => checks.warn("notify_info", format!("{listed}; each kick is an administration command"), SLOW),
    }
}

fn show(entry: &NotifyEntry) -> String {
    let whose = match entry.flags {
        NotifyEntry::OWNER => "PF".to_owned(),
        NotifyEntry::MEMBER => "VF".to_owned(),
        other => format!("flags {other:#x}"),
    };
    format!("{whose} BAR {} offset {:#x}", entry.bar, entry.offset)
}

fn queue_sizes(checks: &mut Checks, driver: &Arc<PfDriver>, member: &Member, wait: &Wait<'_>) {
    if !member.is_idle {
        return checks.unknown("queue_sizes", "the VF is in use, and asking would disturb it", None);
    }
    let registers = AdminRegisters::new(Arc::clone(driver) as Arc<dyn AdminChannel>, member.number, None);
    match sizes(&registers, wait) {
        Ok(sizes) => judge_sizes(checks, &sizes, member.resources.vectors),
        Err(error) => checks.fail(
            "queue_sizes",
            chain(&error),
            "the device refuses legacy register accesses: update its firmware",
        ),
    }
}

fn early_kicks(checks: &mut Checks, driver: &Arc<PfDriver>, member: &Member, open: OpenMember<'_>, limit: Duration) {
    if !member.is_disk {
        return;
    }
    if !member.is_idle {
        return checks.unknown("early_kicks", "the VF is in use, and trying would disturb it", None);
    }
    // A disk that is slow is not to cost the others their time; it is waited for twice.
    let cancelled = AtomicBool::new(false);
    let wait = Wait { deadline: Instant::now() + limit + 2 * early::PATIENCE, cancelled: &cancelled };
    match open(member) {
        Ok(vf) => early::check(checks, driver, member.number, &vf, &wait),
        Err(error) => checks.unknown("early_kicks", format!("the VF cannot be opened: {error}"), None),
    }
}

/// Sizes of all queues, which are in a row from 0.
fn sizes(registers: &dyn LegacyRegisters, wait: &Wait<'_>) -> Result<Vec<u32>, RegisterError> {
    let mut found = Vec::new();
    for queue in 0..MAX_QUEUES {
        registers.write(Area::Common, QUEUE_SELECT, Width::B2, queue.into(), wait)?;
        match registers.read(Area::Common, QUEUE_SIZE, Width::B2, wait)? {
            0 => break,
            size => found.push(size),
        }
    }
    registers.write(Area::Common, QUEUE_SELECT, Width::B2, 0, wait)?;
    Ok(found)
}

pub(super) fn judge_sizes(checks: &mut Checks, sizes: &[u32], vectors: Option<u16>) {
    let Some(&most) = sizes.iter().max() else {
        return checks.fail("queue_sizes", "the VF has no queue 0", "have the device's firmware give its VFs queues");
    };
    let text = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let shared = vectors.is_some_and(|vectors| usize::from(vectors) <= sizes.len());
    let shared = if shared { "; there are fewer vectors than queues and configuration, so some share" } else { "" };
    let detail = format!("{} queues of {text} entries{shared}", sizes.len());
    // SeaBIOS shortens a queue by the modern interface, which can be told to use fewer entries.
    let fix =
        "shorten the queues in the device's firmware, or start guests by --kernel, or give the device interface=both";
    if let Some(odd) = sizes.iter().find(|size| !size.is_power_of_two()) {
        let fix = "update the device's firmware: legacy queues have to be powers of two";
        checks.fail(
            "queue_sizes",
            format!("{detail}; {odd} is not a power of two, and legacy drivers cannot choose another size"),
            fix,
        );
    } else if most > FIRMWARE {
        checks.warn("queue_sizes", format!("{detail}: more than SeaBIOS and iPXE take ({FIRMWARE})"), fix);
    } else if most > OLD_SEABIOS {
        let detail = format!("{detail}; SeaBIOS and iPXE take up to {FIRMWARE}, SeaBIOS before 1.13 {OLD_SEABIOS}");
        checks.pass("queue_sizes", detail);
    } else {
        checks.pass("queue_sizes", format!("{detail}; SeaBIOS and iPXE take up to {FIRMWARE}"));
    }
}
