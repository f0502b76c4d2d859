// SPDX-License-Identifier: Apache-2.0
//! Starting the other processors: INIT, start-up message, real mode, long mode.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::interrupts;

/// Where the start-up code goes: a page below 1 MiB, named by the start-up message.
const TRAMPOLINE: usize = 0x8000;

static STARTED: AtomicU32 = AtomicU32::new(0);
static WORK: AtomicUsize = AtomicUsize::new(0);

global_asm!(
    r#"
    .section .rodata
    .balign 16
    .code16
ap_trampoline:
    cli
    xor ax, ax
    mov ds, ax
    // The boot processor's page tables, left here by `start`.
    mov eax, dword ptr [0x8ff0]
    mov cr3, eax
    mov eax, 0x620          // PAE, OSFXSR, OSXMMEXCPT
    mov cr4, eax
    mov ecx, 0xc0000080
    xor edx, edx
    mov eax, 0x100          // EFER.LME
    wrmsr
    .byte 0x0f, 0x01, 0x16  // lgdt, written out: the assembler takes no difference of labels here
    .word 0x8000 + (ap_gdt_pointer - ap_trampoline)
    mov eax, 0x80000013     // PG, ET, MP, PE
    mov cr0, eax
    .byte 0x66, 0xea        // far jump into 64-bit code
    .long 0x8000 + (ap_long - ap_trampoline)
    .word 0x08
    .code64
ap_long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    // One stack for each processor, by the order of arrival.
    mov eax, 1
    mov rdx, offset {started}
    lock xadd dword ptr [rdx], eax
    mov edi, eax
    shl rax, 14
    mov rsp, offset ap_stacks + 16384
    add rsp, rax
    mov rax, offset {main}
    call rax
1:  hlt
    jmp 1b
    .balign 8
ap_gdt:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
ap_gdt_pointer:
    .word 23
    .long 0x8000 + (ap_gdt - ap_trampoline)
ap_trampoline_end:

    .section .bss.ap, "aw", @nobits
    .balign 4096
ap_stacks:
    .skip 16384 * 64
    .text
"#,
    started = sym STARTED,
    main = sym ap_main,
);

unsafe extern "C" {
    static ap_trampoline: u8;
    static ap_trampoline_end: u8;
}

extern "C" fn ap_main(index: u32) -> ! {
    loop {
        let work = WORK.load(Ordering::Acquire);
        if work != 0 {
            // SAFETY: only `start` stores here, and it stores a function of this type.
            let work: fn(u32) = unsafe { core::mem::transmute(work) };
            work(index + 1);
            interrupts::halt_forever();
        }
        core::hint::spin_loop();
    }
}

/// Starts `others` processors and has each run `work` with its number, from 1.
pub fn start(others: u32, work: fn(u32)) -> Result<(), &'static str> {
    let page_tables: u64;
    // SAFETY: reads a control register; copies code to a page of low memory that nothing else uses.
    unsafe {
        asm!("mov {}, cr3", out(reg) page_tables, options(nomem, nostack));
        let code = &raw const ap_trampoline;
        let length = (&raw const ap_trampoline_end).offset_from(code) as usize;
        core::ptr::copy_nonoverlapping(code, TRAMPOLINE as *mut u8, length);
        core::ptr::write_volatile((TRAMPOLINE + 0xff0) as *mut u32, page_tables as u32);
    }
    interrupts::send_to_others(0x4500);
    interrupts::send_to_others(0x4600 | (TRAMPOLINE >> 12) as u32);
    for _ in 0..1_000_000 {
        if STARTED.load(Ordering::Acquire) == others {
            WORK.store(work as usize, Ordering::Release);
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err("not all processors started")
}
