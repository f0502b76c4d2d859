// SPDX-License-Identifier: Apache-2.0
//! A summary for people. Pure.

use std::fmt::Write;

use super::Summary;
use super::device::Device;
use super::life::{Life, Queue};
use vmm::trace::Span;
use vmm::trace::line::{Sent, kind_name};

/// The whole text. Writing into a string cannot fail, so results are not looked at.
pub(super) fn text(summary: &Summary) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{}, {} lines, {} from first to last; the clock began {}",
        plural(summary.devices.len() as u64, "device"),
        summary.lines,
        Span(summary.last_ns - summary.first_ns),
        clean(&summary.started),
    );
    if summary.lost != 0 {
        let _ = writeln!(
            out,
            "WARNING: {} records were lost while this was recorded: counts are too small, steps may be missing",
            summary.lost
        );
    }
    if summary.cut_off {
        let _ = writeln!(out, "The last line has no end: heirloom was killed. What was before it is summarized.");
    }
    for device in &summary.devices {
        let _ = writeln!(out);
        device_text(&mut out, device);
    }
    out
}

fn device_text(out: &mut String, device: &Device) {
    let kind = device.kind.map_or("unknown type", kind_name);
    let _ = writeln!(out, "{} ({kind})", clean(&device.id));
    if let Some(driver) = device.looks_like() {
        let _ = writeln!(out, "  looks like   {driver}");
    }
    let _ = writeln!(
        out,
        "  accesses     {}, {}, {} for them",
        plural(device.reads, "read"),
        plural(device.writes, "write"),
        plural(device.commands, "admin command")
    );
    let _ = writeln!(
        out,
        "  kicks        {} with an exit ({} stored, {} by command, {} dropped); {}",
        device.kicks_doorbell + device.kicks_admin + device.kicks_dropped,
        device.kicks_doorbell,
        device.kicks_admin,
        device.kicks_dropped,
        match &device.totals {
            Some(totals) => format!("{} without, as the function counted them", totals.kicks_ioeventfd),
            None => "those without are not in a trace that does not reach the machine's end".to_owned(),
        }
    );
    let _ = writeln!(
        out,
        "  interrupts   {} on the line; {}, {} of them found one; MSI-X goes past the trace",
        device.interrupts,
        plural(device.isr_reads, "ISR read"),
        device.isr_hits
    );
    let _ = writeln!(
        out,
        "  resets       {} by the driver, {} of the function for them, {} of the machine (its end included)",
        device.resets, device.function_resets, device.machine_resets
    );
    let errors = device.errors.iter().map(|(kind, count)| format!("{} {count}", clean(kind))).collect::<Vec<_>>();
    let errors = if errors.is_empty() { "none".to_owned() } else { errors.join(", ") };
    let _ = writeln!(out, "  errors       {errors}; out of service {} times", device.faults);
    for incident in &device.incidents {
        let _ = writeln!(out, "    at {:>10}  {}", Span(incident.t), clean(&incident.what));
    }
    latency_text(out, device);
    let before = device.lives.len().min(8);
    for (number, life) in (1_u64..).zip(&device.lives) {
        let number = if number > before as u64 { number + device.lives_left_out } else { number };
        if device.lives_left_out != 0 && number == before as u64 + 1 + device.lives_left_out {
            let _ = writeln!(out, "  ... {} probes are left out here ...", device.lives_left_out);
        }
        life_text(out, number, life);
    }
    if device.lives.is_empty() {
        let _ = writeln!(out, "  no driver set it up");
    }
}

fn latency_text(out: &mut String, device: &Device) {
    if device.latency_ns.is_empty() {
        return;
    }
    let _ =
        writeln!(out, "  latency      {:<16}{:>9}{:>11}{:>11}{:>11}{:>11}", "", "accesses", "p50", "p90", "p99", "max");
    for (sent, latencies) in &device.latency_ns {
        let name = match sent {
            Sent::Admin => "admin commands",
            Sent::Shadow => "shadow",
            Sent::Isr => "ISR in software",
            Sent::Doorbell => "doorbell",
            Sent::Dropped => "dropped",
            Sent::Ignored => "ignored",
            Sent::OutOfService => "out of service",
        };
        let p = latencies.percentiles();
        let [p50, p90, p99, max] = [p.p50, p.p90, p.p99, p.max].map(Span);
        let _ = writeln!(out, "               {name:<16}{:>9}{p50:>11}{p90:>11}{p99:>11}{max:>11}", p.count);
    }
}

fn life_text(out: &mut String, number: u64, life: &Life) {
    let _ = write!(out, "  probe {number} at {}", Span(life.begun));
    match life.driver_ok {
        Some(ready) => {
            let _ = writeln!(
                out,
                ": ready after {}, {} and {}",
                Span(ready.saturating_sub(life.begun)),
                plural(life.probe_accesses, "access"),
                plural(life.probe_commands, "admin command"),
            );
        }
        None => {
            let _ = writeln!(out, ": never said DRIVER_OK");
        }
    }
    if let Some(driver) = life.looks_like {
        let _ = writeln!(out, "    looks like   {driver}");
    }
    if let Some(order) = life.old_order {
        let _ = writeln!(out, "    old order    {order}; {} before DRIVER_OK", plural(life.early_kicks, "kick"));
    }
    for step in &life.steps {
        let _ = writeln!(out, "    +{:<11} {}", Span(step.t.saturating_sub(life.begun)).to_string(), clean(&step.what));
    }
    if life.steps_left_out != 0 {
        let _ = writeln!(out, "    ... and {}", plural(life.steps_left_out, "more step"));
    }
    features_text(out, "offered", life.offered, &life.offered_names);
    features_text(out, "accepted", life.accepted, &life.accepted_names);
    for (index, queue) in &life.queues {
        queue_text(out, *index, queue);
    }
    let interrupts = match (life.msix, life.config_vector) {
        (true, Some(vector)) => format!("MSI-X, vector {vector} for configuration changes"),
        (true, None) => "MSI-X, no vector for configuration changes".to_owned(),
        (false, _) if life.interrupts != 0 => "INTx".to_owned(),
        (false, _) => "INTx, none was raised".to_owned(),
    };
    let _ = writeln!(out, "    interrupts   {interrupts}");
    let _ = writeln!(
        out,
        "    traffic      {} with an exit, {} of them before DRIVER_OK; {} with a bit, {} without; {} on the line",
        plural(life.kicks, "kick"),
        life.early_kicks,
        plural(life.isr_hits, "ISR read"),
        life.isr_reads - life.isr_hits,
        plural(life.interrupts, "interrupt"),
    );
    let end = match life.ended {
        Some((t, by)) => format!("after {}, by a {by}", Span(t.saturating_sub(life.begun))),
        None => "not in this trace".to_owned(),
    };
    let _ = writeln!(out, "    its end      {end}");
}

fn features_text(out: &mut String, what: &str, bits: Option<u32>, names: &[String]) {
    let _ = match bits {
        Some(bits) => writeln!(out, "    {what:<12} {bits:#010x} {}", names.join(" ")),
        None if what == "offered" => writeln!(out, "    {what:<12} not read"),
        None => writeln!(out, "    {what:<12} not written"),
    };
}

fn queue_text(out: &mut String, index: u16, queue: &Queue) {
    let size = queue.size.map_or_else(|| "unknown size".to_owned(), |size| format!("{size} entries"));
    let place = match queue.address {
        0 => "not set up".to_owned(),
        address => format!("at {address:#x}"),
    };
    let vector = queue.vector.map_or_else(String::new, |vector| format!(", vector {vector}"));
    let _ = writeln!(out, "    queue {index:<6} {size} {place}{vector}");
}

fn plural(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ if what.ends_with('s') => format!("{count} {what}es"),
        _ => format!("{count} {what}s"),
    }
}

/// Text from a file, for a terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
