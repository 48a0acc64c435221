//! What is forbidden, by name.

extern crate alloc;

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{future::Future, hint::black_box, pin::Pin};
use unikernel_rt::{
    Error, Result,
    misuse::{self, fuzz},
    spawn, spawn_supervised,
};

/// Starts a deed. Those that go on for as long as they are told take an effort.
pub type Deed = fn(fuzz::Effort) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! deeds {
    ($effort:ident => $($name:literal: $deed:expr),* $(,)?) => {
        const DEEDS: &[(&str, Deed)] = &[$(($name, |$effort| {
            let _ = $effort;
            Box::pin(async move { $deed; })
        })),*];
    };
}

deeds! { effort =>
    "none": core::future::ready(()).await,
    "wait": wait().await,
    "write-text": misuse::write_text(),
    "write-rodata": misuse::write_rodata(),
    "write-relro": misuse::write_relro(),
    "write-idt": misuse::write_idt(),
    "write-alias": misuse::write_alias_of_text(),
    "exec-heap": misuse::run_heap(),
    "exec-stack": misuse::run_stack(),
    "exec-data": misuse::run_data(),
    "exec-user": misuse::run_user_page(),
    "read-user": misuse::read_user_page(),
    "null-read": misuse::read_at(0),
    "null-write": misuse::write_at(8),
    "low-read": misuse::read_at(0xfff8),
    "stack-overflow": black_box(deeper(black_box(200))),
    "double-free": misuse::double_free(),
    "foreign-free": misuse::foreign_free(),
    "heap-overflow": misuse::heap_overflow(),
    "heap-overflow-by-one": misuse::heap_overflow_by_one(),
    "double-free-large": misuse::double_free_large(),
    "interior-free": misuse::interior_free(),
    "wrong-size-free": misuse::wrong_size_free(),
    "double-free-in-task": spawn_supervised(async { misuse::double_free() }).await,
    "overflow": overflow(),
    "divide-by-zero": misuse::divide_by_zero(),
    "invalid-instruction": misuse::invalid_instruction(),
    "panic": panic!("asked to panic"),
    "panic-in-task": spawn(async { panic!("asked to panic in a task") }).await,
    "out-of-memory": fill_memory(),
    "hang": hang(),
    "hang-logging": hang_logging(),
    "fuzz-net": fuzz::net(effort).await,
    "fuzz-block": fuzz::block(effort).await,
    "fuzz-rng": fuzz::rng(effort).await,
    "fuzz-tables": fuzz::tables(effort).await,
}

/// The deed of that name.
pub fn named(name: Option<String>) -> Result<Deed> {
    let names = || DEEDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let Some(name) = name else {
        return Err(Error::msg(format!(
            "boot argument `selftest` is missing; write `selftest=NAME`, one of: {}",
            names()
        )));
    };
    let found = DEEDS.iter().find(|(known, _)| *known == name);
    let unknown = || Error::msg(format!("boot argument `selftest={name}`: write one of: {}", names()));
    found.map(|(_, deed)| *deed).ok_or_else(unknown)
}

/// One or two kilobytes of stack for each: more than the stack has, together, and less than what a machine without guards has
/// below it.
#[inline(never)]
fn deeper(levels: u32) -> u8 {
    let room = black_box([levels as u8; 1024]);
    let below = if levels > 0 { deeper(levels - 1) } else { 0 };
    black_box(room)[usize::from(below)]
}

/// For ever, without listening for a stop.
async fn wait() {
    misuse::say("waiting");
    core::future::pending().await
}

fn overflow() {
    let most = black_box(u32::MAX);
    black_box(most + 1);
}

fn fill_memory() {
    let mut blocks = Vec::new();
    loop {
        blocks.push(Vec::<u8>::with_capacity(1 << 20));
        black_box(&blocks);
    }
}

/// The log is in the middle of a line most of the time.
fn hang_logging() {
    while black_box(true) {
        unikernel_rt::log::warn!("one of very many lines");
    }
}

fn hang() {
    while black_box(true) {
        core::hint::spin_loop();
    }
}
