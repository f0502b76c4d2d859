// SPDX-License-Identifier: Apache-2.0
//! A summary as a picture: for each device a band of phases, and a lane for each kind of register. One file without
//! scripts, fonts or links. Pure.

use std::fmt::Write;

use super::Summary;
use super::axis::Axis;
use super::device::Device;
use super::timeline::{Lane, Mark, Phase};
use vmm::trace::Span;
use vmm::trace::line::kind_name;

/// Sizes, in pixels.
const LEFT: f64 = 132.0;
const RIGHT: f64 = 28.0;
const TOP: f64 = 64.0;
const LANE: f64 = 30.0;
const PHASE: f64 = 24.0;
const HEAD: f64 = 50.0;
const FOOT: f64 = 46.0;
/// Room for what happens: between these, so much for each happening.
const NARROWEST: f64 = 1180.0;
const WIDEST: f64 = 5000.0;
const ROOM_EACH: f64 = 27.0;
/// A letter of the small font, on average and rounded up.
const LETTER: f64 = 6.1;

const STYLE: &str = "
text{font-family:Inter,'Segoe UI',Helvetica,Arial,sans-serif;font-size:11px;fill:#1f2933}
.title{font-size:20px;font-weight:600}.sub{font-size:12px;fill:#52606d}
.dev{font-size:15px;font-weight:600}.lane{fill:#3e4c59;text-anchor:end}
.time{font-size:10px;fill:#7b8794;text-anchor:middle}.mark{font-size:10.5px}
.phase{font-size:11px;font-weight:600;fill:#fff}";

/// Draws it.
pub(super) fn draw(summary: &Summary) -> String {
    let axes: Vec<Axis> = summary.devices.iter().map(axis).collect();
    let most = axes.iter().map(Axis::len).max().unwrap_or(0);
    let room = (most as f64 * ROOM_EACH).clamp(NARROWEST, WIDEST);
    let width = LEFT + room + RIGHT;
    let heights: Vec<f64> = summary.devices.iter().map(panel_height).collect();
    let height = TOP + heights.iter().sum::<f64>() + 40.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>Legacy accesses, started {}</title>\n\
         <style>{STYLE}</style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fbfcfd\"/>\n",
        escape(&summary.started)
    );
    let lost = match summary.lost {
        0 => String::new(),
        lost => format!(" - {lost} records were lost while recording"),
    };
    text(&mut out, (20.0, 30.0), "title", "What the drivers did");
    let about = format!("legacy register accesses, clock began {}{lost}", summary.started);
    text(&mut out, (20.0, 49.0), "sub", &about);
    let mut top = TOP;
    for ((device, axis), height) in summary.devices.iter().zip(&axes).zip(heights) {
        Panel { device, axis, top, room }.draw(&mut out);
        top += height;
    }
    let note = "Time is not to scale: pauses are drawn by the logarithm of their length. Kicks by ioeventfd and MSI-X \
                interrupts do not pass through here and are not drawn.";
    text(&mut out, (20.0, height - 16.0), "sub", note);
    out.push_str("</svg>\n");
    out
}

fn axis(device: &Device) -> Axis {
    let timeline = &device.timeline;
    let marks = timeline.marks.iter().flat_map(|mark| [mark.from, mark.to]);
    Axis::new(marks.chain(timeline.phases.iter().flat_map(|phase| [phase.from, phase.to])).collect())
}

/// Lanes with something in them.
fn lanes(device: &Device) -> Vec<Lane> {
    let used = |lane: &Lane| device.timeline.marks.iter().any(|mark| mark.lane == *lane);
    Lane::ALL.into_iter().filter(used).collect()
}

fn panel_height(device: &Device) -> f64 {
    HEAD + PHASE + 8.0 + lanes(device).len() as f64 * LANE + FOOT
}

/// One device's part.
struct Panel<'a> {
    device: &'a Device,
    axis: &'a Axis,
    top: f64,
    room: f64,
}

impl Panel<'_> {
    fn x(&self, time: u64) -> f64 {
        LEFT + self.axis.place(time) * self.room
    }

    fn draw(&self, out: &mut String) {
        let lanes = lanes(self.device);
        let first_lane = self.top + HEAD + PHASE + 8.0;
        let bottom = first_lane + lanes.len() as f64 * LANE;
        self.head(out);
        for (number, lane) in lanes.iter().enumerate() {
            let y = first_lane + number as f64 * LANE;
            let fill = if number % 2 == 0 { "#f0f4f8" } else { "#fbfcfd" };
            rect(out, Rect { x: LEFT, y, width: self.room, height: LANE }, fill, 0.0);
            text(out, (LEFT - 10.0, y + LANE / 2.0 + 4.0), "lane", lane.name());
        }
        self.time_labels(out, bottom);
        let phases_top = self.top + HEAD;
        for phase in &self.device.timeline.phases {
            self.phase(out, phase, phases_top);
        }
        for (number, lane) in lanes.iter().enumerate() {
            self.lane(out, *lane, first_lane + number as f64 * LANE);
        }
        if self.device.timeline.left_out != 0 {
            let note = format!("{} more marks are not drawn", self.device.timeline.left_out);
            text(out, (LEFT, bottom + 32.0), "sub", &note);
        }
    }

    fn head(&self, out: &mut String) {
        let device = self.device;
        let kind = device.kind.map_or("unknown type", kind_name);
        let driver = device.looks_like().map_or_else(String::new, |driver| format!(" - looks like {driver}"));
        text(out, (20.0, self.top + 20.0), "dev", &format!("{} ({kind}){driver}", device.id));
        let about = format!(
            "{} reads, {} writes, {} admin commands, {} resets by the driver, {} times out of service",
            device.reads, device.writes, device.commands, device.resets, device.faults
        );
        text(out, (20.0, self.top + 38.0), "sub", &about);
    }

    fn time_labels(&self, out: &mut String, bottom: f64) {
        let (mut first, mut shown) = (None, String::new());
        for (time, place) in self.axis.labels(76.0 / self.room) {
            let x = LEFT + place * self.room;
            let top = self.top + HEAD;
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#d9e2ec\"/>",
                bottom + 4.0
            );
            let label = match first {
                None => Span(time).to_string(),
                Some(first) => format!("+{}", Span(time - first)),
            };
            first.get_or_insert(time);
            if label != shown {
                text(out, (x, bottom + 16.0), "time", &label);
            }
            shown = label;
        }
    }

    fn phase(&self, out: &mut String, phase: &Phase, y: f64) {
        let (from, to) = (self.x(phase.from), self.x(phase.to));
        let width = (to - from).max(2.0);
        let fill = if phase.runs { "#2f8f6b" } else { "#d9822b" };
        let length = Span(phase.to.saturating_sub(phase.from));
        let _ = writeln!(out, "<g><title>{}: {length}</title>", escape(&phase.label));
        rect(out, Rect { x: from, y, width: (width - 1.0).max(1.0), height: PHASE }, fill, 3.0);
        let full = format!("{} ({length})", phase.label);
        if let Some(label) =
            fitting([full.as_str(), &phase.label, if phase.runs { "runs" } else { "probe" }], width - 12.0, 1.1)
        {
            text(out, (from + 6.0, y + PHASE / 2.0 + 4.0), "phase", label);
        }
        out.push_str("</g>\n");
    }

    fn lane(&self, out: &mut String, lane: Lane, y: f64) {
        let marks: Vec<&Mark> = self.device.timeline.marks.iter().filter(|mark| mark.lane == lane).collect();
        let mut free_from = f64::MIN;
        for (number, mark) in marks.iter().enumerate() {
            let (from, to) = (self.x(mark.from), self.x(mark.to).max(self.x(mark.from)));
            // Marks of one lane are in the order in which they were noted; that of their times may differ a little.
            let next = marks.get(number + 1).map_or(LEFT + self.room + RIGHT, |next| self.x(next.from));
            let label = match (mark.count, mark.label.is_empty()) {
                (1, _) => mark.label.clone(),
                (count, _) => format!("x {count}"),
            };
            let when = Span(mark.from);
            let _ = writeln!(out, "<g><title>{} {} at {when}</title>", lane.name(), escape(&label));
            let place = Rect { x: from - 2.0, y: y + 7.0, width: (to - from) + 4.0, height: LANE - 14.0 };
            rect(out, place, color(mark), 2.0);
            let inside = to - from > label.len() as f64 * LETTER + 8.0;
            let start = if inside { from + 4.0 } else { to + 5.0 };
            let end = if inside { to } else { next - 4.0 };
            let short = label.split([',', ' ']).next().unwrap_or_default().to_owned();
            if start >= free_from
                && let Some(label) = fitting([label.as_str(), &compact(&label), &short], end - start, 1.0)
            {
                let style = if inside { "phase" } else { "mark" };
                text(out, (start, y + LANE / 2.0 + 4.0), style, label);
                free_from = start + label.len() as f64 * LETTER;
            }
            out.push_str("</g>\n");
        }
    }
}

/// The longest of `labels` that fits.
fn fitting<const N: usize>(labels: [&str; N], room: f64, scale: f64) -> Option<&str> {
    labels.into_iter().find(|label| !label.is_empty() && label.chars().count() as f64 * LETTER * scale <= room)
}

/// `queue 1 at 0x110000, 256 entries` as `q1 256`.
fn compact(label: &str) -> String {
    let words: Vec<&str> = label.split_whitespace().collect();
    match words.as_slice() {
        ["queue", index, "at", _, size, "entries"] => format!("q{index} {size}"),
        ["queue", index, "at", _] => format!("q{index}"),
        ["takes", "queue", index, "down"] => format!("q{index} off"),
        ["config", "vector", vector] => format!("config {vector}"),
        ["vector", vector] | ["MSI-X", vector] => (*vector).to_owned(),
        ["accept", _] => "accept".to_owned(),
        ["DRIVER_OK"] => "OK".to_owned(),
        _ => String::new(),
    }
}

fn color(mark: &Mark) -> &'static str {
    match mark.lane {
        Lane::Status => match mark.label.as_str() {
            "reset" | "machine reset" => "#829ab1",
            "DRIVER_OK" => "#2f8f6b",
            "FAILED" => "#c0392b",
            _ => "#d9822b",
        },
        Lane::Features => "#7b61c4",
        Lane::Config => "#9aa5b1",
        Lane::Queues => "#2b6cb0",
        Lane::Vectors => "#b83280",
        Lane::Kicks => "#2c9fb0",
        Lane::Interrupts => "#b7791f",
        Lane::Isr => "#a0781d",
        Lane::Faults => "#c0392b",
    }
}

/// In pixels, from the upper left corner.
struct Rect {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

fn rect(out: &mut String, place: Rect, fill: &str, radius: f64) {
    let Rect { x, y, width, height } = place;
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\" fill=\"{fill}\"/>"
    );
}

fn text(out: &mut String, (x, y): (f64, f64), class: &str, content: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(content));
}

/// Names and reasons come from a file.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
