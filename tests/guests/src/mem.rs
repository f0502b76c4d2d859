// SPDX-License-Identifier: Apache-2.0
//! The memory functions that compiled code calls; there is no libc here. String instructions,
//! because an emulated processor runs them faster than loops.

use core::arch::asm;
use core::mem::MaybeUninit;

/// Zeros. Written by a string instruction of its own: compilers clear arrays with vector registers,
/// which a KVM in software may not emulate, and they know what `memset` does.
pub fn zeros<const N: usize>() -> [u8; N] {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: fills exactly the array, which is then initialised.
    unsafe {
        asm!("rep stosb", inout("rcx") N => _, inout("rdi") bytes.as_mut_ptr() => _, in("al") 0u8, options(nostack, preserves_flags));
        bytes.assume_init()
    }
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags))
    };
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= length {
        // SAFETY: copying upwards does not overwrite what is still to be copied.
        return unsafe { memcpy(to, from, length) };
    }
    // SAFETY: the same bytes, from the end; the direction flag is put back.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") length => _,
            inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _, options(nostack));
    }
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") value as u8, options(nostack, preserves_flags))
    };
    to
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    for offset in 0..length {
        // SAFETY: the caller's promise.
        let (a, b) = unsafe { (a.add(offset).read(), b.add(offset).read()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// # Safety
/// As in C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the same promise.
    unsafe { memcmp(a, b, length) }
}
