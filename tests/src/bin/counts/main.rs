// SPDX-License-Identifier: Apache-2.0
//! What an exit costs, without KVM: exits as a guest makes them go through bus, PCI, transitional function and admin
//! queue to the software PF in this process. Each of [`CASES`] is repeated in [`measured`], and nothing else happens
//! there: `scripts/bench counts` runs this under callgrind, which counts the instructions of that function and of
//! what it calls, and under strace, which counts system calls between the lines that this prints.
#![forbid(unsafe_code)]

mod board;

use std::error::Error;
use std::io::Write;

use board::{Board, Io};

/// How often a case is repeated while it is counted.
const ROUNDS: usize = 200;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Which board a case is for.
#[derive(Clone, Copy)]
enum On {
    /// Each read is a command.
    Commands,
    /// What is known is answered.
    Shadow,
    /// As `Commands`, the last of 64 VFs of the PF.
    Many,
}

/// One kind of exit.
struct Case {
    name: &'static str,
    on: On,
    /// The exit that is counted; `None` for an interrupt.
    exit: Option<fn(&Board) -> Io>,
    /// Exits before each of them, which are not.
    before: fn(&Board) -> Vec<Io>,
}

/// Nothing before it.
fn nothing(_: &Board) -> Vec<Io> {
    Vec::new()
}

const CASES: [Case; 10] = [
    Case { name: "nobody", on: On::Commands, exit: Some(|_| Io::read(0x80, 2)), before: nothing },
    Case { name: "status_command", on: On::Commands, exit: Some(|board| board.register_read(18, 1)), before: nothing },
    Case { name: "status_of_64", on: On::Many, exit: Some(|board| board.register_read(18, 1)), before: nothing },
    Case {
        name: "select_command",
        on: On::Commands,
        exit: Some(|board| board.register_write(14, 2, 0)),
        before: nothing,
    },
    Case { name: "capacity_command", on: On::Shadow, exit: Some(|board| board.register_read(20, 4)), before: nothing },
    Case { name: "status_shadow", on: On::Shadow, exit: Some(|board| board.register_read(18, 1)), before: nothing },
    Case { name: "isr_read", on: On::Shadow, exit: Some(|board| board.register_read(19, 1)), before: nothing },
    Case { name: "kick_exit", on: On::Shadow, exit: Some(|board| board.register_write(16, 2, 0)), before: nothing },
    Case {
        name: "command_write",
        on: On::Shadow,
        exit: Some(|board| board.config_data_write(board.command())),
        before: |board| vec![board.config_address(4)],
    },
    Case {
        name: "interrupt",
        on: On::Shadow,
        exit: None,
        before: |board| vec![board.register_read(19, 1), board.request()],
    },
];

/// What is counted. Its name is known to `scripts/lib/counts.py`.
#[inline(never)]
fn measured(board: &mut Board, io: Option<Io>) {
    match io {
        Some(mut io) => board.exit(&mut io),
        None => board.interrupt(),
    }
}

/// The end of a case. Its name is known to `scripts/lib/counts.py`, which has callgrind write its counts here.
#[inline(never)]
fn case_ends(name: &str) {
    say(&format!("end {name} {ROUNDS}"));
}

fn say(line: &str) {
    // Whoever counts sees these lines; without them there is nothing to count.
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

fn run(board: &mut Board, case: &Case, rounds: usize) -> Result<()> {
    for _ in 0..rounds {
        for mut io in (case.before)(board) {
            board.exit(&mut io);
        }
        if case.exit.is_none() {
            board.await_request()?;
        }
        let io = case.exit.map(|exit| exit(board));
        let raised = board.raised();
        measured(board, std::hint::black_box(io));
        if case.exit.is_none() && board.raised() == raised {
            return Err("no interrupt was made".into());
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let (mut commands, mut shadow, mut many) = (Board::new(false, 1)?, Board::new(true, 1)?, Board::new(false, 64)?);
    for case in &CASES {
        let board = match case.on {
            On::Commands => &mut commands,
            On::Shadow => &mut shadow,
            On::Many => &mut many,
        };
        run(board, case, 10)?;
        case_ends("warm-up");
        say(&format!("begin {}", case.name));
        run(board, case, ROUNDS)?;
        case_ends(case.name);
    }
    Ok(())
}
