// SPDX-License-Identifier: Apache-2.0
//! The report for people.

use std::fmt::{self, Write};

use devices::admin::{OpcodeStats, PfCounter};
use devices::contract::FailureKind;
use devices::passthrough::PassthroughCounter;
use devices::transitional::{DeviceCounter, DeviceReport, InterruptReport};

use vmm::machine::{DeviceSection, PassthroughSection, PfSection};
use vmm::report::{Boot, Report};
use vmm::sandbox;

/// The whole report.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut text, report);
    text
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "heirloom {} report: {}", report.version, report.ended_by)?;
    writeln!(out, "sandbox: {}", sandbox::summary(&report.sandbox))?;
    let dropped = report.boot_count - report.boots.len() as u64;
    if dropped > 0 {
        writeln!(out, "({dropped} earlier boots are left out)")?;
    }
    for (number, boot) in (dropped + 1..).zip(&report.boots) {
        if report.boot_count > 1 {
            writeln!(out, "\nboot {number}: {}", boot.ended_by)?;
        }
        write_boot(out, boot)?;
    }
    Ok(())
}

fn write_boot(out: &mut String, boot: &Boot) -> fmt::Result {
    writeln!(out, "entry: {}", boot.entry)?;
    for (index, exits) in boot.vcpus.iter().enumerate() {
        writeln!(
            out,
            "vcpu{index}: exits: {} port reads, {} port writes, {} memory reads, {} memory writes, {} others",
            exits.port_in, exits.port_out, exits.mmio_read, exits.mmio_write, exits.other
        )?;
    }
    boot.pfs.iter().try_for_each(|pf| write_pf(out, pf))?;
    boot.devices.iter().try_for_each(|device| write_device(out, device))?;
    boot.passthrough.iter().try_for_each(|device| write_passthrough(out, device))?;
    if !boot.screen.is_empty() {
        writeln!(out, "\ntext screen at the end:")?;
    }
    boot.screen.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

fn write_passthrough(out: &mut String, section: &PassthroughSection) -> fmt::Result {
    let d = &section.device;
    let count = |kind| d.counts.get(kind);
    writeln!(
        out,
        "\n{} ({:04x}:{:04x} on {}, PCI slot {}, passed through)",
        d.id, d.vendor_id, d.device_id, d.function, section.slot
    )?;
    writeln!(
        out,
        "  BARs               {} reads and {} writes that exited; {} KiB mapped at the end",
        count(PassthroughCounter::Reads),
        count(PassthroughCounter::Writes),
        section.mapped_bytes >> 10
    )?;
    writeln!(out, "  interrupts         {:?} at the end", d.interrupts)?;
    writeln!(out, "  resets             {} by the guest", count(PassthroughCounter::Resets))?;
    writeln!(out, "  errors             {}", count(PassthroughCounter::Errors))?;
    match &d.faulted {
        Some(reason) => writeln!(out, "  TAKEN AWAY         {reason}"),
        None => Ok(()),
    }
}

/// Nothing about a PF that never was lost.
fn write_pf(out: &mut String, section: &PfSection) -> fmt::Result {
    let pf = &section.report;
    let Some(loss) = &pf.last_loss else { return Ok(()) };
    let seconds = |ms: u64| ms as f64 / 1000.0;
    write!(
        out,
        "PF {}: lost {} times, restarted {} times, {} attempts failed; last lost {:.1} s after power-on, ",
        section.pf,
        pf.counts.get(PfCounter::Losses),
        pf.counts.get(PfCounter::Restarts),
        pf.counts.get(PfCounter::FailedRestarts),
        seconds(loss.after_ms)
    )?;
    match loss.back_after_ms {
        Some(ms) => write!(out, "back {:.1} s later", seconds(ms))?,
        None => write!(out, "NOT BACK")?,
    }
    writeln!(out, ": {}", loss.reason)
}

fn write_kicks(out: &mut String, d: &DeviceReport) -> fmt::Result {
    writeln!(
        out,
        "  kicks              {} by ioeventfd, {} by a store from the exit loop, {} by admin command ({})",
        by_ioeventfd(d),
        d.count(DeviceCounter::KicksStored),
        d.count(DeviceCounter::KicksCommanded),
        d.notify
    )?;
    writeln!(
        out,
        "                     {} early ({} starts, early={}), {} replayed, {} dropped",
        d.count(DeviceCounter::KicksEarly),
        d.count(DeviceCounter::EarlyStarts),
        d.early.name(),
        d.count(DeviceCounter::KicksReplayed),
        d.count(DeviceCounter::KicksDropped)
    )
}

fn write_device(out: &mut String, section: &DeviceSection) -> fmt::Result {
    let d = &section.device;
    write!(out, "\n{} ({:?} on {}, PCI slot {}, ", d.id, d.device, d.function, section.slot)?;
    match section.admin.member {
        // The group has no such member: nothing was asked of a PF by this process.
        0 => writeln!(out, "admin commands by the kernel)")?,
        member => writeln!(out, "member {member})")?,
    }
    writeln!(
        out,
        "  register accesses  {} reads and {} writes by the guest, {} admin commands",
        d.count(DeviceCounter::Reads),
        d.count(DeviceCounter::Writes),
        section.admin.commands.iter().map(|c| c.count).sum::<u64>()
    )?;
    section.admin.commands.iter().filter(|c| c.count > 0).try_for_each(|c| write_command(out, c))?;
    let of = |name: &str| section.admin.registers.iter().find(|r| r.register == name).map_or(0, |r| r.count);
    writeln!(
        out,
        "  without the PF     {} ISR reads answered in software, {} other reads from the shadow; admin commands: {} for queue_notify, {} for isr_status",
        d.count(DeviceCounter::IsrReads),
        d.count(DeviceCounter::ShadowReads),
        of("queue_notify"),
        of("isr_status")
    )?;
    write_kicks(out, d)?;
    write_interrupts(out, d)?;
    writeln!(
        out,
        "  resets             {} by the guest, {} of the function",
        d.count(DeviceCounter::Resets),
        d.count(DeviceCounter::FunctionResets)
    )?;
    // The kinds that are worth a word of their own.
    let told = [FailureKind::Refused, FailureKind::Timeout, FailureKind::Short, FailureKind::Cancelled];
    let [refused, timeouts, short, cancelled] = told.map(|kind| d.errors.get(kind));
    let others = d.errors.total() - refused - timeouts - short - cancelled;
    writeln!(
        out,
        "  errors             {refused} refused, {timeouts} timeouts, {short} short, {cancelled} cancelled, {others} others"
    )?;
    if section.rings_broken > 0 {
        writeln!(
            out,
            "  broken rings       {} by the guest: garbage addresses, indices or chains",
            section.rings_broken
        )?;
    }
    if let Some(error) = &section.last_host_error {
        writeln!(out, "  host errors        {}, the last: {error}", section.host_errors)?;
    }
    match &d.faulted {
        Some(reason) => writeln!(out, "  OUT OF SERVICE     {reason}"),
        None => Ok(()),
    }
}

/// What there is at the end, and one line for each kind of interrupts that a driver used.
fn write_interrupts(out: &mut String, d: &DeviceReport) -> fmt::Result {
    writeln!(
        out,
        "  interrupts         {:?} at the end; INTx made from MSI-X: {} for queues, {} for configuration, {} spurious",
        d.interrupts,
        d.count(DeviceCounter::QueueInterrupts),
        d.count(DeviceCounter::ConfigInterrupts),
        d.count(DeviceCounter::SpuriousInterrupts)
    )?;
    let seconds = |ms: u64| ms as f64 / 1000.0;
    for used in &d.interrupts_used {
        let (after, time) = (seconds(used.after_ms), seconds(used.for_ms));
        let interrupts = match used.interrupts {
            InterruptReport::Msix => "Msix".to_owned(),
            InterruptReport::Intx => format!("Intx, {} of them", used.intx),
            InterruptReport::None => "none offered".to_owned(),
        };
        writeln!(out, "                     driver at {after:.1} s for {time:.1} s: {interrupts}")?;
    }
    match d.interrupts_used_left_out {
        0 => Ok(()),
        more => writeln!(out, "                     and {more} more"),
    }
}

/// In the kernel nobody counts.
fn by_ioeventfd(d: &DeviceReport) -> String {
    match (d.count(DeviceCounter::KicksByIoeventfd), d.count(DeviceCounter::UncountedIoeventfds)) {
        (0, 1..) => "an uncounted number".to_owned(),
        (counted, 1..) => format!("more than {counted}"),
        (counted, 0) => counted.to_string(),
    }
}

fn write_command(out: &mut String, command: &OpcodeStats) -> fmt::Result {
    let l = &command.latency_ns;
    let us = |ns: u64| ns as f64 / 1000.0;
    writeln!(
        out,
        "    {:<24} {:>7}   p50 {:.1} us, p90 {:.1} us, p99 {:.1} us, max {:.1} us",
        command.command,
        command.count,
        us(l.p50),
        us(l.p90),
        us(l.p99),
        us(l.max)
    )
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
