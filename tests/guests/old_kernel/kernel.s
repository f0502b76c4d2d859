# SPDX-License-Identifier: Apache-2.0
# What the decompressor has unpacked to 1 MiB: says whether it has arrived whole, finds its parameters as old
# kernels do, and ends the machine: by ACPI, or with reboot=bios by the reset vector in real mode. What it
# prints is for tests/tests/old_kernels.rs.
    .intel_syntax noprefix
    .code32
    .text
    .globl start
start:
    jmp 1f
    .balign 8
size: .long 0                               # of the whole image; filled in by the builder
total: .long 0                              # sum of its 32-bit words from `code` on
code:
1:  cld
    mov eax, 0x18                           # the boot loader's GDT must still be there
    mov ds, eax
    mov es, eax
    mov fs, eax
    mov gs, eax
    mov ss, eax
    mov esp, 0x700000
    mov ebp, esi

    mov esi, offset code
    mov ecx, [size]
    sub ecx, offset code - 0x100000
    shr ecx, 2
    xor ebx, ebx
1:  lodsd
    add ebx, eax
    loop 1b
    mov esi, offset damaged
    cmp ebx, [total]
    jne fail
    mov esi, offset whole
    call print

    # Before protocol 2.02 the command line is found by a magic number.
    mov edi, [ebp + 0x228]
    test edi, edi
    jnz 1f
    mov esi, offset no_cmdline
    cmp word ptr [0x90020], 0xa33f
    jne fail
    movzx edi, word ptr [0x90022]
    add edi, 0x90000
1:  mov esi, offset cmdline_is
    call print
    mov esi, edi
    call print
    mov esi, offset newline
    call print

    # E820MAX was 32; and those kernels want at least two entries.
    mov esi, offset bad_map
    mov al, [ebp + 0x1e8]
    cmp al, 2
    jb fail
    cmp al, 32
    ja fail

    # The initial RAM disk: its first line.
    mov esi, [ebp + 0x218]
    test esi, esi
    jz 1f
    call print
1:
    call smbios

    # reboot=bios?
    mov esi, edi
1:  cmp byte ptr [esi], 0
    je power_off
    cmp dword ptr [esi], 0x736f6962         # "bios"
    je to_bios
    inc esi
    jmp 1b

power_off:
    mov esi, offset done
    call print
off:
    mov dx, 0x604
    mov ax, 0x3400
    out dx, ax
1:  hlt
    jmp 1b

fail:
    call print
    jmp off

    # Texts of type 1, as kernels before 2.6.31 find them.
smbios:
    push edi
    mov esi, offset no_smbios
    mov ebx, 0xf0000
1:  cmp dword ptr [ebx], 0x494d445f         # "_DMI"
    je 2f
    add ebx, 16
    cmp ebx, 0x100000
    jb 1b
    jmp fail
2:  mov edi, [ebx + 8]
    movzx ecx, word ptr [ebx + 12]
3:  mov dl, [edi]                           # type
    movzx eax, byte ptr [edi + 1]
    add edi, eax                            # to the texts
    cmp dl, 1
    jne 4f
    mov esi, offset system_is
    call print
    mov esi, edi
6:  call print                              # ends behind the text's 0
    push esi
    mov esi, offset slash
    call print
    pop esi
    cmp byte ptr [esi], 0
    jne 6b
    mov esi, offset newline
    call print
4:  cmp word ptr [edi], 0
    je 5f
    inc edi
    jmp 4b
5:  add edi, 2
    loop 3b
    pop edi
    ret

    # As machine_real_restart: 16-bit segments, real mode's IDT, protection off, and to the reset vector.
to_bios:
    mov esi, offset to_real_mode
    call print
    mov esi, offset real_start
    mov edi, 0x8000
    mov ecx, offset real_end - real_start
    rep movsb
    lgdt [real_gdt_pointer]
    lidt [real_idt_pointer]
    .byte 0xea
    .long 0x8000
    .word 0x08
real_start:
    .code16
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov fs, ax
    mov gs, ax
    mov ss, ax
    mov eax, cr0
    and eax, 0xfffffffe
    mov cr0, eax
    .byte 0xea                              # ljmp FFFF:0000
    .word 0x0000
    .word 0xffff
    .code32
real_end:
    .balign 8
real_gdt:
    .quad 0
    .quad 0x00009a000000ffff
    .quad 0x000092000000ffff
real_gdt_pointer:
    .word 23
    .long real_gdt
real_idt_pointer:
    .word 0x3ff
    .long 0

print:
    mov dx, 0x3f8
1:  lodsb
    test al, al
    jz 2f
    out dx, al
    jmp 1b
2:  ret

whole: .asciz "GUEST kernel is whole\n"
damaged: .asciz "GUEST-FAIL the kernel is damaged\n"
cmdline_is: .asciz "GUEST cmdline="
no_cmdline: .asciz "GUEST-FAIL no command line\n"
bad_map: .asciz "GUEST-FAIL bad number of E820 entries\n"
no_smbios: .asciz "GUEST-FAIL no SMBIOS tables\n"
system_is: .asciz "GUEST system="
to_real_mode: .asciz "GUEST to real mode\n"
done: .asciz "GUEST-OK old kernel\n"
slash: .asciz "/"
newline: .asciz "\n"
    .balign 4
