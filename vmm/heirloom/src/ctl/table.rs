// SPDX-License-Identifier: Apache-2.0
//! Replies for people. From JSON, not from the types: another version's server may know more or less.
//! Pure.

use std::fmt::Write;

use serde_json::Value;

/// Text of a value: strings without quotes, null as a dash.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "-".to_owned(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Rows in columns; each column as wide as its widest cell.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Of operations that answer nothing; another version's server may.
pub(super) fn nothing(reply: &Value) -> String {
    format!("{}\n", plain(reply))
}

/// Of operations that have no table of their own: a row for each field.
pub(super) fn any(reply: &Value) -> String {
    match reply.as_object() {
        Some(fields) => columns(&fields.iter().map(|(name, value)| row([name, &plain(value)])).collect::<Vec<_>>()),
        None => nothing(reply),
    }
}

pub(super) fn ping(reply: &Value) -> String {
    format!("heirloom {}, process {}\n", plain(&reply["version"]), plain(&reply["pid"]))
}

/// The lines of the screen as they are, without the empty ones at the end.
pub(super) fn screen(reply: &Value) -> String {
    if reply["graphics"] == true {
        return "the guest is in a graphics mode, which is not shown\n".to_owned();
    }
    let lines = reply["lines"].as_array().map_or(&[][..], Vec::as_slice);
    let text: String = lines.iter().map(|line| format!("{}\n", line.as_str().unwrap_or_default())).collect();
    let text = text.trim_end_matches('\n');
    if text.is_empty() { "the screen is blank\n".to_owned() } else { format!("{text}\n") }
}

/// The reply of vm.add-device.
pub(super) fn device(reply: &Value) -> String {
    format!("{} at {}\n", plain(&reply["id"]), plain(&reply["bdf"]))
}

pub(super) fn info(reply: &Value) -> String {
    let config = &reply["config"];
    let memory = reply["memory_actual_size"].as_u64().map_or("-".to_owned(), api::format_size);
    let mut text = columns(&[
        row(["state", &plain(&reply["state"])]),
        row(["ended by", &plain(&reply["ended_by"])]),
        row(["kernel", &plain(&config["payload"]["kernel"])]),
        row(["firmware", &plain(&config["payload"]["firmware"])]),
        row(["initramfs", &plain(&config["payload"]["initramfs"])]),
        row(["cmdline", &plain(&config["payload"]["cmdline"])]),
        row(["processors", &plain(&config["cpus"]["boot_vcpus"])]),
        row(["memory", &memory]),
        row(["serial port", &plain(&config["serial"]["mode"])]),
    ]);
    let list = |name: &str| config[name].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows = vec![row(["DEVICE", "PCI ADDRESS", "KIND", "BACKED BY"])];
    let legacy = list("legacy_virtio").iter().map(|device| (device, legacy_device(device)));
    let passed = list("devices").iter().map(|device| (device, passed_through(device)));
    for (device, (kind, behind)) in legacy.chain(passed) {
        let id = plain(&device["id"]);
        let bdf = plain(&reply["device_tree"][&id]["pci_bdf"]);
        rows.push(row([&id, &bdf, kind, &behind]));
    }
    if rows.len() == 1 {
        return text;
    }
    text.push('\n');
    text + &columns(&rows)
}

/// Kind of an entry of `legacy_virtio`, and what is behind it.
fn legacy_device(device: &Value) -> (&str, String) {
    if let Value::Object(vf) = &device["vf"] {
        return ("vf", vf.get("address").map_or("-".to_owned(), plain));
    }
    if let served @ Value::Object(_) = &device["vfio_user"] {
        return ("vf", format!("{}, member {}", plain(&served["socket"]), plain(&served["member"])));
    }
    let Some((kind, behind)) = device["soft"].as_object().and_then(|soft| soft.iter().next()) else {
        return ("-", "-".to_owned());
    };
    let behind = match (&behind["file"], &behind["backend"]) {
        (Value::Null, Value::Object(backend)) => {
            backend.iter().next().map_or("-".to_owned(), |(name, value)| format!("{name} {}", plain(value)))
        }
        (Value::Null, backend) => plain(backend),
        (file, _) => plain(file),
    };
    (kind, behind)
}

/// The same of an entry of `devices`.
fn passed_through(device: &Value) -> (&str, String) {
    match &device["vfio"]["address"] {
        Value::Null => ("passthrough", plain(&device["vfio_user"])),
        address => ("passthrough", plain(address)),
    }
}

pub(super) fn counters(reply: &Value) -> String {
    let mut rows = vec![row(["DEVICE", "COUNTER", "VALUE"])];
    for (device, counters) in reply.as_object().into_iter().flatten() {
        for (counter, value) in counters.as_object().into_iter().flatten() {
            rows.push(row([device, counter, &plain(value)]));
        }
    }
    columns(&rows)
}

pub(super) fn legacy(reply: &Value) -> String {
    let mut text = String::new();
    for device in reply.as_array().into_iter().flatten() {
        if !text.is_empty() {
            text.push('\n');
        }
        let registers = &device["registers"];
        let commands: u64 =
            device["admin"]["commands"].as_array().into_iter().flatten().filter_map(|c| c["count"].as_u64()).sum();
        let pairs = |value: &Value| {
            let pairs = value.as_object().into_iter().flatten().filter(|(_, count)| count.as_u64() != Some(0));
            let text = pairs.map(|(name, count)| format!("{name} {}", plain(count))).collect::<Vec<_>>().join(", ");
            if text.is_empty() { "none".to_owned() } else { text }
        };
        text += &columns(&[
            row([
                &plain(&device["id"]),
                &format!(
                    "{} at {}, on {}",
                    plain(&device["device"]),
                    plain(&device["pci_bdf"]),
                    plain(&device["function"])
                ),
            ]),
            row(["  registers by", &plain(&device["mode"])]),
            row(["  status", &plain(&registers["device_status_names"])]),
            row(["  features", &plain(&registers["driver_feature_names"])]),
            row(["  interrupts", &plain(&device["interrupts"])]),
            row(["  queues", &plain(&device["queues"])]),
            row(["  notify", &plain(&device["notify"])]),
            row(["  kicks", &pairs(&device["kicks"])]),
            row(["  accesses", &pairs(&device["accesses"])]),
            row(["  admin commands", &commands.to_string()]),
            row(["  errors", &pairs(&device["errors"])]),
            row(["  out of service", &plain(&device["faulted"])]),
            row(["  last fault", &plain(&device["last_fault"])]),
        ]);
    }
    if text.is_empty() { "no legacy virtio functions\n".to_owned() } else { text }
}

pub(super) fn probe(reply: &Value) -> String {
    let mut rows = Vec::new();
    for check in reply["checks"].as_array().into_iter().flatten() {
        let function = check["function"].as_str().map_or(String::new(), |function| format!("{function}: "));
        let detail = format!("{function}{}", plain(&check["detail"]));
        rows.push(row([&plain(&check["result"]), &plain(&check["name"]), &detail]));
        if !check["fix"].is_null() {
            rows.push(row(["", "", &format!("-> {}", plain(&check["fix"]))]));
        }
    }
    let usable = if reply["usable"] == true { "usable" } else { "NOT usable" };
    format!("{}{usable}\n", columns(&rows))
}
