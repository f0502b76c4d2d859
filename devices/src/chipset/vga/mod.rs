// SPDX-License-Identifier: Apache-2.0
//! A VGA for text: registers, and a picture made of guest memory. There are no graphics: a guest that asks for dots
//! gets registers that keep what it writes, and memory.
//!
//! The card has no memory of its own. 0xA0000 to 0xBFFFF is the machine's RAM, which costs no exit; a copy of RAM
//! has the screen in it. The card's four planes are not there, and text needs none: characters and attributes are one
//! byte after the other for the processor. Fonts go through 0xA0000 (SeaVGABIOS `stdvga_load_font`, Linux'
//! `vgacon_do_font_op`), where they meet no text, and are read back from there.
//!
//! | module | what it is |
//! | --- | --- |
//! | `registers` | what ports keep, and what that says of the picture |
//! | `screen` | the picture as a value |
//! | `cp437` | the characters as Unicode |

mod cp437;
mod registers;
mod screen;

use std::sync::{Mutex, MutexGuard, PoisonError};

use vm_memory::{Bytes, GuestMemoryMmap};

pub use self::registers::{FIRST_PORT, Registers};
pub use self::screen::{Cell, Cursor, Screen};
use super::bytewise;
use crate::bus::{Access, Effect, IoDevice};
use crate::contract::{Saved, StateError};

/// Number of ports: both places of the registers that move, and all between.
pub const PORTS: u64 = 0x30;

/// The card.
#[derive(Debug)]
pub struct Vga {
    registers: Mutex<Registers>,
    memory: GuestMemoryMmap<()>,
}

impl Vga {
    /// A card in mode 3 that shows what is in `memory`.
    pub fn new(memory: GuestMemoryMmap<()>) -> Self {
        Self { registers: Mutex::default(), memory }
    }

    /// What is to be seen now. The guest may be writing it.
    pub fn screen(&self) -> Screen {
        let geometry = self.registers().geometry();
        let window = geometry.window;
        let mut memory = vec![0; if geometry.graphics { 0 } else { window.len }];
        // A machine has at least 1 MiB. Without memory there, the screen is dark.
        if self.memory.read_slice(&mut memory, window.base).is_err() {
            memory.clear();
        }
        Screen::new(&geometry, &memory)
    }

    fn registers(&self) -> MutexGuard<'_, Registers> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The port of an offset in [`PORTS`].
fn port(offset: u64) -> u16 {
    FIRST_PORT.wrapping_add(offset as u16)
}

/// The registers. What is on the screen is in the machine's memory.
impl Saved for Vga {
    type State = Registers;

    fn state(&self) -> Registers {
        self.registers().clone()
    }

    fn set_state(&self, state: Registers) -> Result<(), StateError> {
        if !state.fit() {
            return Err(StateError("a colour has three components"));
        }
        *self.registers() = state;
        Ok(())
    }
}

impl IoDevice for Vga {
    fn name(&self) -> &str {
        "vga"
    }

    fn read(&self, access: Access) -> u64 {
        let mut registers = self.registers();
        bytewise::read(access, |offset| registers.read(port(offset)))
    }

    fn write(&self, access: Access, value: u64) -> Effect {
        let mut registers = self.registers();
        bytewise::write(access, value, |offset, value| {
            registers.write(port(offset), value);
            Effect::None
        })
    }
}

#[cfg(test)]
#[path = "vga_tests.rs"]
mod tests;
