//! What a device can do wrong, and how often it was told and noticed.

use super::device::Kind;
use crate::platform::console_line;

/// What a device does wrong in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Its queues have no size, or one that is no power of two.
    QueueSize,
    /// It does not accept the features that it offers.
    TakesBack,
    /// Its configuration changes while it is read, always.
    Restless,
    /// It says what cannot be, or has less configuration than it must.
    BadConfig,
    /// It never resets.
    NoReset,
    /// It resets at first, and not when it is to be left alone.
    KeepsMemory,
    /// It answers nothing.
    Silent,
    /// It is done with a descriptor that no queue has.
    UnknownId,
    /// It is done with one that it was not given.
    NotGiven,
    /// It is done with one twice.
    Twice,
    /// It wrote more than there is room for.
    TooLong,
    /// It wrote as much as a number can say.
    FarTooLong,
    /// It wrote less than it must.
    TooShort,
    /// It is done with more than it says what.
    Ahead,
    /// It takes back that it was done.
    Back,
    /// A packet in no buffers.
    NoBuffers,
    /// A packet in more buffers than it is done with.
    MoreBuffers,
    /// A status that there is not.
    BadStatus,
    /// It asks to be reset.
    NeedsReset,
}

const RINGS: [Lie; 8] =
    [Lie::UnknownId, Lie::NotGiven, Lie::Twice, Lie::TooLong, Lie::FarTooLong, Lie::TooShort, Lie::Ahead, Lie::Back];
const SETUP: [Lie; 4] = [Lie::QueueSize, Lie::TakesBack, Lie::NoReset, Lie::KeepsMemory];
const NET: [Lie; 4] = [Lie::Restless, Lie::BadConfig, Lie::NoBuffers, Lie::MoreBuffers];
const BLOCK: [Lie; 5] = [Lie::Restless, Lie::BadConfig, Lie::Silent, Lie::BadStatus, Lie::NeedsReset];
const RNG: [Lie; 1] = [Lie::Silent];

impl Lie {
    pub(super) fn numbered(number: usize) -> Option<Lie> {
        let mut all = RINGS.into_iter().chain(SETUP).chain(NET).chain(BLOCK);
        all.find(|lie| *lie as usize == number)
    }
}

fn own(kind: Kind) -> &'static [Lie] {
    match kind {
        Kind::Net => &NET,
        Kind::Block => &BLOCK,
        Kind::Rng => &RNG,
    }
}

/// The lies that such a device can tell.
fn all(kind: Kind) -> impl Iterator<Item = Lie> {
    // Who waits for each answer cannot tell that the next one came before it asked.
    let is_possible = move |lie: &Lie| kind != Kind::Rng || *lie != Lie::Twice;
    RINGS.into_iter().chain(SETUP).chain(own(kind).iter().copied()).filter(is_possible)
}

/// The lie of that number, or none. There are as many rounds without one as with any other.
pub(super) fn draw(kind: Kind, number: usize) -> Option<Lie> {
    all(kind).nth(number)
}

/// How many numbers there are.
pub(super) fn count(kind: Kind) -> usize {
    all(kind).count() + 1
}

/// How often each was told, and in how many rounds the driver noticed.
#[derive(Default)]
pub(super) struct Counts([(u32, u32); Lie::NeedsReset as usize + 1]);

impl Counts {
    pub(super) fn add(&mut self, lie: Option<Lie>, told: u32, noticed: bool) {
        let Some(lie) = lie.filter(|_| told > 0) else { return };
        let (times, rounds) = &mut self.0[lie as usize];
        *times += told;
        *rounds += u32::from(noticed);
    }

    pub(super) fn of(&self, lie: Lie) -> (u32, u32) {
        self.0[lie as usize]
    }

    /// A line for each that this kind of device tells.
    pub(super) fn say(&self, kind: Kind) {
        for lie in all(kind) {
            let (told, noticed) = self.of(lie);
            console_line(format_args!("fuzz {kind:?} lie={lie:?} told={told} noticed={noticed}"));
        }
    }
}
