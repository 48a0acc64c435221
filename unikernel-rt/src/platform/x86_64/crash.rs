//! What comes after a report: the end, a halt, or a new start. Over a reset the report is kept in memory that neither the
//! loader nor the next start touches.

use super::{console_line, interrupts, memory, power, serial};
use crate::{
    Result, args,
    checksum::crc32c,
    crash::{Kind, Report},
};
use alloc::{boxed::Box, string::String};
use core::{
    slice,
    str::FromStr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

/// Exit codes; README, "Exit codes".
pub(super) fn exit_code(kind: Kind) -> u8 {
    match kind {
        Kind::Panic => 101,
        Kind::Fault | Kind::StackOverflow => 102,
        Kind::OutOfMemory => 103,
        Kind::Hang => 105,
    }
}

/// Starts in a row that may crash before `main`: more will crash, too.
const EARLY_MAX: u32 = 3;

#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum OnCrash {
    Exit,
    Halt,
    Reboot,
}

impl FromStr for OnCrash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<OnCrash, &'static str> {
        match text {
            "exit" => Ok(OnCrash::Exit),
            "halt" => Ok(OnCrash::Halt),
            "reboot" => Ok(OnCrash::Reboot),
            _ => Err("write on-crash=exit, on-crash=halt or on-crash=reboot"),
        }
    }
}

static ON_CRASH: AtomicU8 = AtomicU8::new(OnCrash::Exit as u8);
/// Crashes since power-on, and those in a row that came before `main`; both without this start's.
static COUNT: AtomicU64 = AtomicU64::new(0);
static EARLY: AtomicU32 = AtomicU32::new(0);
static MAIN_REACHED: AtomicBool = AtomicBool::new(false);
static PREVIOUS: AtomicPtr<Report> = AtomicPtr::new(core::ptr::null_mut());
/// A report is being kept, and how long it is.
static KEEPING: AtomicBool = AtomicBool::new(false);
static KEPT_LEN: AtomicUsize = AtomicUsize::new(0);

/// Learns what to do after a crash, and what the previous one was.
pub(super) fn init() -> Result {
    let on_crash = args::take("on-crash")?.unwrap_or(OnCrash::Exit);
    ON_CRASH.store(on_crash as u8, Ordering::Relaxed);
    let Some(head) = Head::read().filter(Head::is_valid) else { return Ok(()) };
    COUNT.store(head.count, Ordering::Relaxed);
    EARLY.store(head.early, Ordering::Relaxed);
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| *kind as u32 == head.kind) {
        show(kind, head.text());
    }
    // Whoever resets the machine without a crash shall not find it again.
    Head { kind: 0, len: 0, ..head }.write();
    Ok(())
}

fn show(kind: Kind, text: &[u8]) {
    console_line(format_args!("unikernel: the previous run crashed:"));
    serial::write(text);
    if text.len() == memory::KEPT_LEN - HEAD_LEN {
        // It may have been cut off inside of a log frame.
        serial::write(b"\xc1\r\n");
    }
    console_line(format_args!("unikernel: end of the previous run's report"));
    let report = Box::leak(Box::new(Report { kind, text: without_frames(text) }));
    PREVIOUS.store(report, Ordering::Relaxed);
}

/// The text between log frames.
fn without_frames(bytes: &[u8]) -> String {
    let mut text = String::new();
    for part in bytes.split(|byte| *byte == 0xc0) {
        let after = part.iter().position(|byte| *byte == 0xc1).map_or(0, |end| end + 1);
        text += &String::from_utf8_lossy(&part[after..]);
    }
    text
}

pub(crate) fn previous_crash() -> Option<&'static Report> {
    // SAFETY: null, or what `show` leaked.
    unsafe { PREVIOUS.load(Ordering::Relaxed).as_ref() }
}

pub(crate) fn crash_count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// `main` has its arguments: what crashes now may work for long before it does so again.
pub(crate) fn main_reached() {
    MAIN_REACHED.store(true, Ordering::Relaxed);
    // The host may reset the machine, too; that ends the row.
    if EARLY.swap(0, Ordering::Relaxed) > 0 {
        Head { count: crash_count(), ..Head::new() }.write();
    }
}

fn reboots() -> bool {
    ON_CRASH.load(Ordering::Relaxed) == OnCrash::Reboot as u8
}

/// A report begins.
pub(super) fn begin(is_final: bool) {
    KEPT_LEN.store(0, Ordering::Relaxed);
    KEEPING.store(is_final && reboots(), Ordering::Relaxed);
}

/// Adds to the report that is kept; what is too much is left out.
pub(super) fn keep(bytes: &[u8]) {
    if KEEPING.load(Ordering::Relaxed) {
        let len = KEPT_LEN.load(Ordering::Relaxed);
        let room = &mut kept()[HEAD_LEN + len..];
        let added = bytes.len().min(room.len());
        room[..added].copy_from_slice(&bytes[..added]);
        KEPT_LEN.store(len + added, Ordering::Relaxed);
    }
}

/// Ends the machine after the report of a crash.
pub(super) fn end(kind: Kind) -> ! {
    if ON_CRASH.load(Ordering::Relaxed) == OnCrash::Halt as u8 {
        console_line(format_args!("unikernel: halted, as on-crash=halt says"));
        interrupts::stop();
    }
    if reboots() {
        let early = if MAIN_REACHED.load(Ordering::Relaxed) { 0 } else { EARLY.load(Ordering::Relaxed) + 1 };
        if early <= EARLY_MAX {
            keep_head(kind, early);
            console_line(format_args!("unikernel: starting again, as on-crash=reboot says"));
            power::reboot();
        }
        console_line(format_args!(
            "unikernel: not starting again: {early} crashes in a row came before main was reached"
        ));
        power::exit_without_reset(exit_code(kind));
    }
    power::exit(exit_code(kind))
}

fn keep_head(kind: Kind, early: u32) {
    let (count, len) = (COUNT.load(Ordering::Relaxed) + 1, KEPT_LEN.load(Ordering::Relaxed) as u32);
    Head { kind: kind as u32, len, early, count, ..Head::new() }.write();
}

/// The memory that is kept, to read.
fn kept_bytes() -> &'static [u8] {
    // SAFETY: as for `kept`: whoever reads lets go of it before it is written.
    unsafe { memory::kept().as_ref() }
}

/// The memory that is kept: a [`Head`], then the report.
fn kept() -> &'static mut [u8] {
    let mut kept = memory::kept();
    // SAFETY: mapped RAM of which nobody else has a part; one core, and each user here lets go of it before another comes.
    unsafe { kept.as_mut() }
}

const HEAD_LEN: usize = 64;
const MAGIC: u64 = u64::from_le_bytes(*b"uk-crash");
const BUILD_ID_LEN: usize = 20;

/// What tells a kept report from what else memory may hold after power-on.
struct Head {
    magic: u64,
    build: [u8; BUILD_ID_LEN],
    kind: u32,
    len: u32,
    early: u32,
    count: u64,
    /// Over the fields above, then the report.
    sum: u32,
}

impl Head {
    fn new() -> Head {
        let mut build = [0; BUILD_ID_LEN];
        build.iter_mut().zip(build_id()).for_each(|(byte, id)| *byte = *id);
        Head { magic: MAGIC, build, kind: 0, len: 0, early: 0, count: 0, sum: 0 }
    }

    fn read() -> Option<Head> {
        let bytes = &kept_bytes()[..HEAD_LEN];
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(Head {
            magic: long(0)?,
            count: long(8)?,
            kind: word(16)?,
            len: word(20)?,
            early: word(24)?,
            sum: word(28)?,
            build: bytes[32..32 + BUILD_ID_LEN].try_into().ok()?,
        })
    }

    fn write(&self) {
        let head = &mut kept()[..HEAD_LEN];
        let put = |head: &mut [u8], at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(head, 0, &self.magic.to_le_bytes());
        put(head, 8, &self.count.to_le_bytes());
        put(head, 16, &self.kind.to_le_bytes());
        put(head, 20, &self.len.to_le_bytes());
        put(head, 24, &self.early.to_le_bytes());
        put(head, 32, &self.build);
        let sum = self.sum_of_kept();
        put(&mut kept()[..HEAD_LEN], 28, &sum.to_le_bytes());
    }

    fn is_valid(&self) -> bool {
        self.magic == MAGIC
            && self.build == Head::new().build
            && self.len as usize <= memory::KEPT_LEN - HEAD_LEN
            && self.sum == self.sum_of_kept()
    }

    fn sum_of_kept(&self) -> u32 {
        let kept = kept_bytes();
        let sum = crc32c(crc32c(0, &kept[..28]), &kept[32..HEAD_LEN]);
        crc32c(sum, &kept[HEAD_LEN..HEAD_LEN + self.len as usize])
    }

    fn text(&self) -> &'static [u8] {
        &kept_bytes()[HEAD_LEN..HEAD_LEN + self.len as usize]
    }
}

/// What the linker made of the contents of the image; empty when it was not asked to (`--build-id`).
pub(crate) fn build_id() -> &'static [u8] {
    unsafe extern "C" {
        static __build_id_start: u8;
        static __build_id_end: u8;
    }
    /// Lengths of name and id, the kind, `GNU`.
    const NOTE_HEAD_LEN: usize = 16;
    let (start, end) = (&raw const __build_id_start, &raw const __build_id_end);
    // SAFETY: the linker script puts the two around one note of the image.
    let note = unsafe { slice::from_raw_parts(start, end.offset_from(start) as usize) };
    note.get(NOTE_HEAD_LEN..).unwrap_or_default()
}
