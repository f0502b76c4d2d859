// SPDX-License-Identifier: Apache-2.0
//! IDT, PICs, local APIC and I/O APIC, just enough to count interrupts.
//!
//! Interrupts are open only inside [`wait_until`], so handlers never meet code that minds.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};

use crate::port::{inb, inw, outb, outw};

/// Where the PICs deliver.
pub const PIC_BASE: u8 = 0x20;
/// Where MSI-X and the I/O APIC deliver, in these tests.
pub const APIC_BASE: u8 = 0x40;

const LAPIC: usize = 0xfee0_0000;
const IOAPIC: usize = 0xfec0_0000;

/// Interrupts taken, by vector.
static COUNTS: [AtomicU32; 256] = [const { AtomicU32::new(0) }; 256];
/// Interrupts after which the level line was found to belong to nobody.
static SPURIOUS: AtomicU32 = AtomicU32::new(0);
/// Port of the ISR that a level interrupt is acknowledged at; 0: none.
static ISR_PORT: AtomicU16 = AtomicU16::new(0);
/// Port of the ACPI event status that a level interrupt is acknowledged at; 0: none.
static EVENT_PORT: AtomicU16 = AtomicU16::new(0);
/// All events that it has shown.
static EVENTS: AtomicU16 = AtomicU16::new(0);
/// All bits that the ISR has shown.
static ISR_BITS: AtomicU8 = AtomicU8::new(0);

global_asm!(
    r#"
    .text
    .balign 16
interrupt_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .byte 0x68
    .long vector
    jmp interrupt_common
    .set vector, vector + 1
    .endr
interrupt_common:
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push rbp
    mov rdi, [rsp + 80]
    mov rsi, [rsp + 88]
    mov rbp, rsp
    and rsp, -16
    call {handler}
    mov rsp, rbp
    pop rbp
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    add rsp, 8
    iretq
"#,
    handler = sym handle,
);

unsafe extern "C" {
    static interrupt_stubs: [u8; 256 * 16];
}

#[repr(C, align(16))]
struct Idt([[u64; 2]; 256]);
static mut IDT: Idt = Idt([[0; 2]; 256]);

extern "C" fn handle(vector: u64, rip: u64) {
    let vector = vector as u8;
    if vector < 32 {
        panic!("exception {vector} at {rip:#x}");
    }
    COUNTS[usize::from(vector)].fetch_add(1, Ordering::Relaxed);
    let level = (PIC_BASE..PIC_BASE + 16).contains(&vector) || vector == APIC_BASE + 15;
    let port = ISR_PORT.load(Ordering::Relaxed);
    if level && port != 0 {
        let isr = inb(port);
        ISR_BITS.fetch_or(isr, Ordering::Relaxed);
        if isr == 0 {
            SPURIOUS.fetch_add(1, Ordering::Relaxed);
        }
    }
    let port = EVENT_PORT.load(Ordering::Relaxed);
    if level && port != 0 {
        let events = inw(port);
        EVENTS.fetch_or(events, Ordering::Relaxed);
        // Ones clear.
        outw(port, events);
    }
    if (PIC_BASE..PIC_BASE + 16).contains(&vector) {
        if vector >= PIC_BASE + 8 {
            outb(0xa0, 0x20);
        }
        outb(0x20, 0x20);
    } else {
        lapic_write(0xb0, 0);
    }
}

fn lapic_write(register: usize, value: u32) {
    // SAFETY: the local APIC's page is identity-mapped and no memory of this program.
    unsafe { core::ptr::write_volatile((LAPIC + register) as *mut u32, value) };
}

fn ioapic_write(register: u32, value: u32) {
    // SAFETY: the I/O APIC's page is identity-mapped and no memory of this program.
    unsafe {
        core::ptr::write_volatile(IOAPIC as *mut u32, register);
        core::ptr::write_volatile((IOAPIC + 0x10) as *mut u32, value);
    }
}

/// Loads the IDT, moves the PICs to [`PIC_BASE`] with all lines masked, and enables the local APIC.
pub fn init() {
    let code_segment: u16;
    // SAFETY: reads a segment register.
    unsafe { asm!("mov {0:x}, cs", out(reg) code_segment, options(nomem, nostack)) };
    for vector in 0..256 {
        // SAFETY: the address of a stub; nothing is read.
        let handler = unsafe { (&raw const interrupt_stubs).cast::<u8>().add(vector * 16) } as u64;
        let low = handler & 0xffff | u64::from(code_segment) << 16 | 0x8e00 << 32 | (handler >> 16 & 0xffff) << 48;
        // SAFETY: only the boot processor runs, and interrupts are closed.
        unsafe { (&raw mut IDT.0).cast::<[u64; 2]>().add(vector).write([low, handler >> 32]) };
    }
    #[repr(C, packed)]
    struct Pointer(u16, u64);
    let pointer = Pointer(4095, (&raw const IDT) as u64);
    // SAFETY: the IDT is complete and lives for ever.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer, options(readonly, nostack)) };
    for (port, value) in [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, PIC_BASE),
        (0xa1, PIC_BASE + 8),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ] {
        outb(port, value);
    }
    lapic_write(0xf0, 0x1ff);
    // LINT0 as ExtINT: what the PICs deliver reaches this processor.
    lapic_write(0x350, 0x700);
}

/// Acknowledges level interrupts by reading the ISR of a legacy virtio device.
pub fn acknowledge_at(isr_port: u16) {
    ISR_PORT.store(isr_port, Ordering::Relaxed);
}

/// Acknowledges level interrupts by clearing ACPI event status.
pub fn acknowledge_events_at(port: u16) {
    EVENT_PORT.store(port, Ordering::Relaxed);
}

/// All events seen.
pub fn events() -> u16 {
    EVENTS.load(Ordering::Relaxed)
}

/// Opens one line of the PICs.
pub fn unmask_pic(line: u8) {
    if line >= 8 {
        outb(0xa1, inb(0xa1) & !(1 << (line - 8)));
        outb(0x21, inb(0x21) & !(1 << 2));
    } else {
        outb(0x21, inb(0x21) & !(1 << line));
    }
}

/// Opens one pin of the I/O APIC: level, active low, as `APIC_BASE + 15` to the boot processor.
pub fn unmask_ioapic(pin: u8) {
    ioapic_write(0x10 + u32::from(pin) * 2 + 1, 0);
    ioapic_write(0x10 + u32::from(pin) * 2, u32::from(APIC_BASE + 15) | 1 << 13 | 1 << 15);
}

/// Opens one pin of the I/O APIC for an ISA device: edge, active high, as `APIC_BASE + pin` to the boot processor.
pub fn unmask_ioapic_isa(pin: u8) {
    ioapic_write(0x10 + u32::from(pin) * 2 + 1, 0);
    ioapic_write(0x10 + u32::from(pin) * 2, u32::from(APIC_BASE + pin));
}

/// Interrupts taken at `vector`.
pub fn count(vector: u8) -> u32 {
    COUNTS[usize::from(vector)].load(Ordering::Relaxed)
}

/// Level interrupts that found the ISR 0.
pub fn spurious() -> u32 {
    SPURIOUS.load(Ordering::Relaxed)
}

/// All ISR bits seen.
pub fn isr_bits() -> u8 {
    ISR_BITS.load(Ordering::Relaxed)
}

/// Halts with interrupts open until `done` says so. An interrupt between the check and the halt is
/// not lost: `sti` opens interrupts only after the next instruction.
pub fn wait_until(mut done: impl FnMut() -> bool) {
    while !done() {
        // SAFETY: handlers touch statics of this module.
        unsafe { asm!("sti", "hlt", "cli") };
    }
}

/// The end.
pub fn halt_forever() {
    // SAFETY: stops this processor.
    unsafe { asm!("cli", "hlt") };
}

/// Sends the INIT or start-up message `command` to all other processors.
pub fn send_to_others(command: u32) {
    lapic_write(0x310, 0);
    lapic_write(0x300, 0xc_0000 | command);
}
