# SPDX-License-Identifier: Apache-2.0
# The protected-mode part of a kernel image that treats memory as decompressors before Linux 2.6.20 did
# (arch/i386/boot/compressed): it wants ALT_MEM_K or EXT_MEM_K to say that there are 4 MiB. Loaded high, it
# unpacks into a low buffer from 0x2000 up to the real-mode data and into a high buffer, then moves itself out
# of the way to 0x1000 and joins both at 1 MiB. Loaded low (HIGH=0), it unpacks straight to 1 MiB, with a heap
# up to the real-mode data. All the time it keeps the boot loader's GDT.
#
# The compressed kernel is a list of runs: u16 length, u8 byte; a length of 0 ends it.
    .intel_syntax noprefix
    .code32
    .text
    .globl startup_32
startup_32:
    cld
    cli
    mov eax, 0x18                   # __KERNEL_DS
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    lss esp, [stack_start]
    # A20: a write at 1 MiB + 0 must not be seen at 0.
    xor eax, eax
1:  inc eax
    mov [0], eax
    cmp [0x100000], eax
    je 1b
    mov dword ptr [0], 0
    push 0
    popfd
    mov edi, offset bss_start
    mov ecx, offset bss_end
    sub ecx, edi
    xor eax, eax
    rep stosb
    mov [real_mode], esi

    movzx eax, word ptr [esi + 0x02]        # EXT_MEM_K
    mov ebx, [esi + 0x1e0]                  # ALT_MEM_K
    cmp ebx, eax
    jae 1f
    mov ebx, eax
1:  mov esi, offset less_than_4_mib
    cmp ebx, 3 * 1024
    jb fail

    mov esi, offset decompressing
    call print
    .if HIGH
    mov eax, [real_mode]
    cmp eax, 0x90000
    jbe 1f
    mov eax, 0x90000
1:  and eax, 0xfffff000
    mov [room_end], eax
    sub eax, 0x2000
    mov [low_size], eax
    add eax, 0x100000
    mov edx, offset heap_end
    cmp eax, edx
    jb 1f
    mov edx, eax                            # the high buffer is where it belongs
1:  mov [high_start], edx
    mov edi, 0x2000
    .else
    # The heap is all used, too: whatever is in there is lost.
    mov edi, offset bss_end
    mov ecx, [real_mode]
    sub ecx, edi
    mov al, 0xcc
    rep stosb
    mov edi, 0x100000
    .endif

    # Unpack.
    mov esi, offset input
next_run:
    movzx ecx, word ptr [esi]
    test ecx, ecx
    jz unpacked
    mov al, [esi + 2]
    add esi, 3
    mov ebx, ecx
write:
    mov ecx, ebx
    .if HIGH
    mov edx, [room_end]
    sub edx, edi
    cmp ecx, edx
    jbe 1f
    mov ecx, edx
    .endif
1:  sub ebx, ecx
    rep stosb
    test ebx, ebx
    jz next_run
    # The low buffer is full.
    mov edi, [high_start]
    mov dword ptr [room_end], 0xffffffff
    jmp write

unpacked:
    .if HIGH
    mov esi, offset kernel_too_small
    mov ebx, [high_start]
    mov eax, edi
    sub eax, ebx                            # bytes in the high buffer
    jbe fail
    mov edx, eax
    mov ebp, [real_mode]
    # The routine, at 0x1000, then through the boot loader's GDT to it.
    mov esi, offset move_start
    mov edi, 0x1000
    mov ecx, offset move_end
    sub ecx, esi
    rep movsb
    mov ecx, [low_size]
    .byte 0xea                              # ljmp __KERNEL_CS, 0x1000
    .long 0x1000
    .word 0x10
    # ebx high buffer, ecx bytes in the low buffer, edx bytes in the high one, ebp real-mode data
move_start:
    mov edi, 0x100000
    mov esi, 0x2000
    rep movsb
    mov esi, ebx
    mov ecx, edx
    rep movsb
    mov esi, ebp
    .byte 0xea
    .long 0x100000
    .word 0x10
move_end:
    .else
    mov esi, [real_mode]
    .byte 0xea
    .long 0x100000
    .word 0x10
    .endif

fail:
    call print
    mov dx, 0x604                           # the machine's power switch, so that a test ends
    mov ax, 0x3400
    out dx, ax
1:  hlt
    jmp 1b

print:
    mov dx, 0x3f8
1:  lodsb
    test al, al
    jz 2f
    out dx, al
    jmp 1b
2:  ret

less_than_4_mib: .asciz "GUEST-FAIL Less than 4MB of memory.\n"
kernel_too_small: .asciz "GUEST-FAIL the kernel ends in the low buffer\n"
decompressing: .asciz "GUEST decompressing\n"
    .balign 4
stack_start:
    .long stack_end
    .word 0x18
    .balign 4
input:
    .incbin "kernel.runs"

    .bss
    .balign 4
bss_start:
real_mode: .skip 4
room_end: .skip 4
low_size: .skip 4
high_start: .skip 4
    .skip 4096
stack_end:
bss_end:
    .set heap_end, bss_end + 0x3000
