//! Drivers against a device that keeps the rules or breaks one, round after round. Exists with the feature `selftest` only.
//!
//! In every round the device tells one kind of lie, or none. What must hold: an honest device is served without a loss; a driver
//! neither panics nor waits for ever; what it hands up lies within its buffer, and every request comes back once; no memory is used again
//! while the device has it; after the round the heap is as full as before, but for what a device keeps that does not reset.

mod acts;
mod block;
mod cases;
mod device;
mod kept;
mod lies;
mod net;
mod random;
mod ring;
mod rng;
mod tables;

use super::super::interrupts::Irq;
use crate::{crash, heap, platform::console_line, task::yield_now};
use alloc::rc::Rc;
use core::{
    cell::RefCell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};
use device::{Device, Fake, Kind};
use lies::{Counts, Lie};
use random::Random;

/// Whoever lies is waited for this long.
const PATIENCE_MICROS: u64 = 20_000;
/// How often it is said how far it is.
const ROUNDS_SAID: u64 = 100;

static PATIENCE_MAX_MICROS: AtomicU64 = AtomicU64::new(u64::MAX);

/// For reports.
static ROUND: AtomicU64 = AtomicU64::new(0);
static LIE: AtomicUsize = AtomicUsize::new(usize::MAX);

/// How long, and with which numbers.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The same gives the same rounds.
    pub seed: u64,
    /// The number of the first round.
    pub first: u64,
    /// How many.
    pub rounds: u64,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    /// The driver refused the device, gave it up, or failed what it had asked.
    Noticed,
}

pub(super) fn patience(micros: u64) -> u64 {
    micros.min(PATIENCE_MAX_MICROS.load(Ordering::Relaxed))
}

/// The network driver.
pub async fn net(effort: Effort) {
    let irq = impatient();
    cases::net(&irq).await;
    rounds(Kind::Net, effort, &irq).await;
}

/// The disk driver.
pub async fn block(effort: Effort) {
    let irq = impatient();
    cases::block(&irq).await;
    rounds(Kind::Block, effort, &irq).await;
}

/// The driver of random number devices.
pub async fn rng(effort: Effort) {
    let irq = impatient();
    cases::rng(&irq).await;
    rounds(Kind::Rng, effort, &irq).await;
}

/// What is read of ACPI tables and PCI configuration.
pub async fn tables(effort: Effort) {
    cases::of(tables::CASES);
    tables::rounds(effort).await;
}

/// Waits for nobody long from now on, and says where it was if it crashes. An interrupt that no device has.
fn impatient() -> Irq {
    crash::add_section("fuzz", |out| {
        let lie = Lie::numbered(LIE.load(Ordering::Relaxed));
        write!(out, "round {}, the device tells {lie:?}", ROUND.load(Ordering::Relaxed))
    });
    PATIENCE_MAX_MICROS.store(PATIENCE_MICROS, Ordering::Relaxed);
    Irq::new().expect("the machine has a vector left")
}

async fn rounds(kind: Kind, effort: Effort, irq: &Irq) {
    let (mut counts, mut honest, mut answered) = (Counts::default(), 0, 0);
    for number in effort.first..effort.first + effort.rounds {
        ROUND.store(number, Ordering::Relaxed);
        if number % ROUNDS_SAID == 0 {
            console_line(format_args!("fuzz {kind:?} seed={} round={number}", effort.seed));
        }
        let mut random = Random::new(effort.seed, number);
        let lie = lies::draw(kind, random.below(lies::count(kind)));
        answered += round(kind, random, lie, irq, &mut counts);
        honest += u32::from(lie.is_none());
        yield_now().await;
    }
    counts.say(kind);
    console_line(format_args!(
        "fuzz {kind:?} seed={} rounds={} honest={honest} answered={answered}",
        effort.seed, effort.rounds
    ));
}

/// A device that lies so.
fn plan(kind: Kind, random: Random, lie: Option<Lie>) -> Device {
    let mut device = Device::new(kind, random, lie);
    match kind {
        Kind::Net => net::plan(&mut device),
        Kind::Block => block::plan(&mut device),
        Kind::Rng => rng::plan(&mut device),
    }
    device
}

/// One round. Returns how much the device answered as it should.
fn round(kind: Kind, random: Random, lie: Option<Lie>, irq: &Irq, counts: &mut Counts) -> u32 {
    LIE.store(lie.map_or(usize::MAX, |lie| lie as usize), Ordering::Relaxed);
    let in_use = in_use();
    let fake = Fake(Rc::new(RefCell::new(plan(kind, random, lie))));
    let outcome = match kind {
        Kind::Net => net::round(&fake, irq.clone()),
        Kind::Block => block::round(&fake, irq.clone()),
        Kind::Rng => rng::round(&fake),
    };
    let (told, answered) = (fake.0.borrow().told.get(), fake.0.borrow().answered);
    drop(fake);
    let leaked = self::in_use() - in_use;
    assert!(lie.is_some() || outcome == Outcome::Fine, "the driver gave up a device that keeps the rules");
    let may_leak = lie == Some(Lie::KeepsMemory) && told > 0;
    assert!(leaked == 0 || may_leak, "{leaked} bytes are left over; the device told {lie:?} {told} times");
    counts.add(lie, told, outcome == Outcome::Noticed || leaked > 0);
    answered
}

/// Bytes of the heap that are in use, but for what waits to be used again.
fn in_use() -> usize {
    super::super::give_back_pools();
    heap::stats().in_use
}
