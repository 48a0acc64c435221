//! A TCG plugin for QEMU that counts executed guest instructions in a file others can read while
//! the guest runs: `-plugin libinsn_plugin.so,out=FILE[,profile=on]`.
//!
//! The generated code adds straight into the file's mapping, one addition for each executed block
//! of guest code. With `profile=on` every block also has a counter of its own, from which the
//! benchmark computes how often each instruction was executed. What the words of the file mean is
//! in [`layout`]. The additions are not atomic: the counts are exact for one virtual CPU.
//!
//! Speaks version 1 of QEMU's plugin interface (QEMU 4.2 to 8.2). Later versions refuse to load it.
//!
//! Unsafe code cannot be avoided here, since the interface is C; this file holds all of it.

pub mod layout;

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

use layout::{ADDRESSES_AT, ADDRESSES_MAX, ADDRESSES_USED, ALL, BLOCK_EXECUTIONS, BLOCK_FIRST};
use layout::{BLOCK_LEN, BLOCK_WORDS, BLOCKS_AT, BLOCKS_LOST, BLOCKS_MAX, BLOCKS_USED};
use layout::{HEADER_WORDS, PROFILE_WORDS, REPEATED, is_repeated_string};

/// The version of the plugin interface this library was written for; QEMU reads it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "QEMU looks for this name")]
pub static qemu_plugin_version: c_int = 1;

/// A block of guest code that QEMU translates as one piece.
#[repr(C)]
struct Block {
    _opaque: [u8; 0],
}

/// One guest instruction of a block.
#[repr(C)]
struct Instruction {
    _opaque: [u8; 0],
}

/// `qemu_info_t` of `qemu-plugin.h`, whose fields are not needed here.
#[repr(C)]
pub struct Info {
    _opaque: [u8; 0],
}

type OnTranslation = extern "C" fn(plugin: u64, block: *mut Block);

/// `QEMU_PLUGIN_INLINE_ADD_U64`, the only inline operation there is.
const ADD: c_int = 0;

// Declarations of `qemu-plugin.h`, version 1. QEMU's executable provides the functions.
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(plugin: u64, callback: OnTranslation);
    fn qemu_plugin_register_vcpu_tb_exec_inline(block: *mut Block, operation: c_int, target: *mut c_void, operand: u64);
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: *const Block, index: usize) -> *mut Instruction;
    fn qemu_plugin_insn_data(instruction: *const Instruction) -> *const u8;
    fn qemu_plugin_insn_size(instruction: *const Instruction) -> usize;
    fn qemu_plugin_insn_vaddr(instruction: *const Instruction) -> u64;
}

static COUNTS: OnceLock<Counts> = OnceLock::new();

/// The mapped file, and which block has which record in it.
struct Counts {
    words: &'static [AtomicU64],
    /// Record of the block at (address, number of instructions); `None` when only counting.
    records: Option<Mutex<HashMap<(u64, usize), usize>>>,
}

/// Called by QEMU when it loads the plugin. Zero means success.
///
/// # Safety
///
/// `argv` must hold `argc` C strings, as QEMU promises.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    plugin: u64,
    _info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let arguments = (0..usize::try_from(argc).unwrap_or(0)).map(|index| {
        // SAFETY: `argv` has `argc` elements by this function's contract, and `index` is below it.
        let argument = unsafe { *argv.add(index) };
        // SAFETY: each element is a C string by this function's contract.
        unsafe { CStr::from_ptr(argument) }.to_string_lossy().into_owned()
    });
    match Counts::from_arguments(arguments) {
        Ok(counts) => {
            let _ = COUNTS.set(counts);
            // SAFETY: `plugin` is the id QEMU gave us in this very call.
            unsafe { qemu_plugin_register_vcpu_tb_trans_cb(plugin, on_translation) };
            0
        }
        Err(error) => {
            eprintln!("insn-plugin: {error}");
            -1
        }
    }
}

/// Called by QEMU for each block it translates: asks for additions whenever the block runs.
extern "C" fn on_translation(_plugin: u64, block: *mut Block) {
    let Some(counts) = COUNTS.get() else { return };
    // SAFETY: QEMU passes a block that is valid during this call.
    let len = unsafe { qemu_plugin_tb_n_insns(block) };
    if len == 0 {
        return;
    }
    counts.add_on_execution(block, ALL, len as u64);
    // A repeated instruction ends its block; further iterations run a block that starts with it.
    // SAFETY: the block is valid and its first instruction exists, `len` being above zero.
    let first = unsafe { qemu_plugin_tb_get_insn(block, 0) };
    if is_repeated_string(code_of(first)) {
        counts.add_on_execution(block, REPEATED, 1);
    }
    if let Some(record) = counts.record_of(block, len) {
        counts.add_on_execution(block, record + BLOCK_EXECUTIONS, 1);
    }
}

/// The machine code of an instruction of the block being translated.
fn code_of<'block>(instruction: *const Instruction) -> &'block [u8] {
    // SAFETY: callers pass an instruction QEMU gave them during the current translation.
    let len = unsafe { qemu_plugin_insn_size(instruction) };
    // SAFETY: the same.
    let data = unsafe { qemu_plugin_insn_data(instruction) };
    // SAFETY: QEMU keeps `len` bytes at `data` until the translation ends, and our caller returns
    // before that.
    unsafe { std::slice::from_raw_parts(data, len) }
}

impl Counts {
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Counts, String> {
        let (mut out, mut profile) = (None, false);
        for argument in arguments {
            match argument.split_once('=') {
                Some(("out", path)) => out = Some(path.to_owned()),
                Some(("profile", "on")) => profile = true,
                _ => return Err(format!("unknown argument {argument}; give out=FILE[,profile=on]")),
            }
        }
        let out = out.ok_or("give the file to count into as out=FILE")?;
        let words = map(&out, if profile { PROFILE_WORDS } else { HEADER_WORDS })
            .map_err(|error| format!("cannot map {out}: {error}"))?;
        Ok(Counts { words, records: profile.then(Mutex::default) })
    }

    /// From now on each execution of `block` adds `amount` to a word of the file.
    fn add_on_execution(&self, block: *mut Block, word: usize, amount: u64) {
        let target = self.words[word].as_ptr().cast();
        // SAFETY: `block` is being translated, and `target` is in a mapping that is never removed.
        unsafe { qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, target, amount) };
    }

    /// The first word of the block's record, made now if the block is new.
    fn record_of(&self, block: *mut Block, len: usize) -> Option<usize> {
        let mut records = self.records.as_ref()?.lock().ok()?;
        let start = address_of(block, 0);
        if let Some(record) = records.get(&(start, len)) {
            return Some(*record);
        }
        let record = self.new_record(block, len)?;
        records.insert((start, len), record);
        Some(record)
    }

    /// Takes a free record and writes the addresses of the block's instructions.
    fn new_record(&self, block: *mut Block, len: usize) -> Option<usize> {
        let used = self.words[BLOCKS_USED].load(Relaxed) as usize;
        let first = self.words[ADDRESSES_USED].load(Relaxed) as usize;
        if used == BLOCKS_MAX || first + len > ADDRESSES_MAX {
            self.words[BLOCKS_LOST].fetch_add(1, Relaxed);
            return None;
        }
        for index in 0..len {
            let address = address_of(block, index);
            self.words[ADDRESSES_AT + first + index].store(address, Relaxed);
        }
        let record = BLOCKS_AT + used * BLOCK_WORDS;
        self.words[record + BLOCK_FIRST].store(first as u64, Relaxed);
        self.words[record + BLOCK_LEN].store(len as u64, Relaxed);
        self.words[ADDRESSES_USED].store((first + len) as u64, Relaxed);
        self.words[BLOCKS_USED].store((used + 1) as u64, Relaxed);
        Some(record)
    }
}

/// The virtual address of an instruction of the block being translated.
fn address_of(block: *const Block, index: usize) -> u64 {
    // SAFETY: callers pass the block of the current translation and an index below its length.
    let instruction = unsafe { qemu_plugin_tb_get_insn(block, index) };
    // SAFETY: QEMU keeps the instruction until the translation ends.
    unsafe { qemu_plugin_insn_vaddr(instruction) }
}

/// Makes the file with `len` words of zero, and maps it for good.
fn map(path: &str, len: usize) -> io::Result<&'static [AtomicU64]> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(len as u64 * 8)?;
    let (access, kind) = (rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE, rustix::mm::MapFlags::SHARED);
    // SAFETY: without an address asked for, a new mapping overlaps no memory in use.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len * 8, access, kind, &file, 0)? };
    // SAFETY: the mapping is `len` words long, page aligned, never removed, and all our accesses to
    // it are atomic; QEMU's generated code runs while no reference narrower than this one exists.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), len) })
}
