/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Program entry and the system call gate. The kernel starts a program with
 * argc, argv and envp on the stack; init needs none of them.
 */
	.text
	.globl	_start
	.globl	syscall6

#ifdef __x86_64__
_start:
	xorl	%ebp, %ebp
	andq	$-16, %rsp
	call	main
	ud2

/* rdi = number, rsi rdx rcx r8 r9 and one on the stack = arguments */
syscall6:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret
#else
_start:
	xorl	%ebp, %ebp
	andl	$-16, %esp
	call	main
	ud2

/* everything on the stack; int $0x80 works on every 32-bit kernel */
syscall6:
	pushl	%ebp
	pushl	%edi
	pushl	%esi
	pushl	%ebx
	movl	20(%esp), %eax
	movl	24(%esp), %ebx
	movl	28(%esp), %ecx
	movl	32(%esp), %edx
	movl	36(%esp), %esi
	movl	40(%esp), %edi
	movl	44(%esp), %ebp
	int	$0x80
	popl	%ebx
	popl	%esi
	popl	%edi
	popl	%ebp
	ret
#endif

	.section .note.GNU-stack,"",@progbits
