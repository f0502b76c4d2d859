// SPDX-License-Identifier: Apache-2.0
//! Entry in 64-bit mode with an identity map, as the Linux boot protocol leaves it.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.start, "ax"
    .global start64
start64:
    cli
    cld
    mov rsp, offset boot_stack_top
    // SSE, which compiled code uses freely.
    mov rax, cr0
    and rax, ~(1 << 2)
    or rax, 1 << 1
    mov cr0, rax
    mov rax, cr4
    or rax, (1 << 9) | (1 << 10)
    mov cr4, rax
    mov rdi, rsi
    call {main}
1:  hlt
    jmp 1b

    .section .bss.stack, "aw", @nobits
    .balign 4096
    .skip 65536
boot_stack_top:
    .text
"#,
    main = sym crate::guest_main,
);
