//! What nobody may do, for the image that shows that it ends the machine. Exists with the feature `selftest` only.
//!
//! Each does its deed such that a machine without the protection goes on unharmed: it writes what is there already, or runs an
//! instruction that returns.

pub use super::virtio::fuzz;

use super::{memory, serial::console_line};
use alloc::{boxed::Box, vec, vec::Vec};
use core::{arch::asm, hint::black_box, mem::ManuallyDrop, ptr};

/// The instruction `ret`.
const RET: u8 = 0xc3;

/// Writes a line of plain text.
pub fn say(text: &str) {
    console_line(format_args!("{text}"));
}

/// Reads one byte.
pub fn read_at(address: u64) -> u8 {
    let byte: u8;
    // SAFETY: none: this is the deed. Not a read of Rust's, which may take for granted that it is allowed.
    unsafe { asm!("mov {}, byte ptr [{}]", out(reg_byte) byte, in(reg) address, options(nostack)) };
    byte
}

/// Writes what is there.
pub fn write_at(address: u64) {
    let byte = read_at(address);
    // SAFETY: none: this is the deed.
    unsafe { asm!("mov byte ptr [{}], {}", in(reg) address, in(reg_byte) byte, options(nostack)) };
}

/// Calls what is at an address: a `ret`.
fn run_at(address: *const u8) {
    // SAFETY: none: this is the deed. A `ret` comes back, and changes nothing.
    unsafe { asm!("call {}", in(reg) black_box(address), clobber_abi("C")) };
}

/// Writes to an instruction.
pub fn write_text() {
    write_at(write_text as *const () as u64);
}

/// Writes to a constant.
pub fn write_rodata() {
    static CONSTANT: [u8; 64] = [7; 64];
    write_at(black_box(&CONSTANT).as_ptr() as u64);
}

/// Writes to a constant with an address in it, which was relocated.
pub fn write_relro() {
    static CONSTANT: [fn(); 4] = [write_relro; 4];
    write_at(black_box(&CONSTANT).as_ptr() as u64);
}

/// Writes to the table of interrupts.
pub fn write_idt() {
    write_at(x86_64::instructions::tables::sidt().base.as_u64());
}

/// Writes to an instruction through the direct map, where the rest of the memory is.
pub fn write_alias_of_text() {
    write_at(memory::direct_alias(write_text as *const () as u64));
}

/// Runs code in the heap.
pub fn run_heap() {
    run_at(&raw const *Box::new(RET));
}

/// Runs code on the stack.
pub fn run_stack() {
    run_at(&raw const *black_box(&RET.clone()));
}

/// Runs code in a variable.
pub fn run_data() {
    static mut CODE: u8 = RET;
    run_at((&raw const CODE).cast());
}

/// Runs code of a user page.
pub fn run_user_page() {
    run_at(memory::user_page(RET));
}

/// Reads data of a user page.
pub fn read_user_page() {
    read_at(memory::user_page(RET) as u64);
}

/// Divides by zero, where Rust would have looked.
pub fn divide_by_zero() {
    // SAFETY: the CPU's fault is the deed; it changes two registers.
    unsafe { asm!("xor edx, edx", "xor ecx, ecx", "mov eax, 1", "div ecx", out("eax") _, out("ecx") _, out("edx") _) };
}

/// An instruction that does not exist.
pub fn invalid_instruction() {
    // SAFETY: the CPU's fault is the deed.
    unsafe { asm!("ud2", options(nomem, nostack)) };
}

/// Frees a block twice.
pub fn double_free() {
    let block = Box::into_raw(Box::new([7_u64; 5]));
    // SAFETY: the block of `into_raw`.
    drop(unsafe { Box::from_raw(block) });
    // SAFETY: none: this is the deed.
    drop(unsafe { Box::from_raw(black_box(block)) });
}

/// Frees what the heap never gave.
pub fn foreign_free() {
    static mut VARIABLE: [u64; 5] = [7; 5];
    // SAFETY: none: this is the deed.
    drop(unsafe { Box::from_raw(black_box(&raw mut VARIABLE)) });
}

/// Writes past the end of a block.
pub fn heap_overflow() {
    let block = Box::into_raw(Box::new([7_u8; 50]));
    // SAFETY: none: this is the deed.
    unsafe { ptr::write_bytes(black_box(block).cast::<u8>(), 0x55, 64) };
    // SAFETY: the block of `into_raw`.
    drop(unsafe { Box::from_raw(block) });
}

/// Writes one byte past the end of a block, and makes that longer.
pub fn heap_overflow_by_one() {
    let mut bytes = Vec::<u8>::with_capacity(100_001);
    // SAFETY: none: this is the deed.
    unsafe { black_box(bytes.as_mut_ptr()).add(100_001).write(0x55) };
    bytes.reserve_exact(300_000);
}

/// Frees a long block twice.
pub fn double_free_large() {
    let mut bytes = ManuallyDrop::new(vec![7_u8; 100_000]);
    // SAFETY: the value is not used again, but for the deed.
    unsafe { ManuallyDrop::drop(black_box(&mut bytes)) };
    // SAFETY: none: this is the deed.
    unsafe { ManuallyDrop::drop(black_box(&mut bytes)) };
}

/// Frees a part of a block.
pub fn interior_free() {
    let block = Box::into_raw(Box::new([7_u64; 10]));
    // SAFETY: the pointer stays in the block. Its being freed is the deed.
    drop(unsafe { Box::from_raw(black_box(block).cast::<[u64; 5]>().byte_add(16)) });
}

/// Frees a block as a longer one.
pub fn wrong_size_free() {
    let block = Box::into_raw(Box::new([7_u64; 5]));
    // SAFETY: none: this is the deed.
    drop(unsafe { Box::from_raw(black_box(block).cast::<[u64; 50]>()) });
}
