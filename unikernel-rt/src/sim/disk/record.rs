//! What a loss of power may leave of a disk.

use super::{Behaviour, SimDisk, image::Image};
use crate::{device::BlockInfo, sim::Random};
use std::vec::Vec;

/// A change of a disk, or the moment after which earlier ones are safe.
pub(super) enum Event {
    Write { offset: u64, bytes: Vec<u8> },
    Zero { offset: u64, len: u64 },
    Flush,
}

impl Event {
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Event::Write { offset, bytes } => image.write(*offset, bytes),
            Event::Zero { offset, len } => image.zero(*offset, *len),
            Event::Flush => {}
        }
    }

    /// Applies some of its sectors; one of them may be torn: its first bytes new, the others old.
    fn apply_parts(&self, image: &mut Image, sector_len: usize, may_tear: bool, random: &mut Random) {
        let mut torn = may_tear && random.chance(500);
        match self {
            Event::Flush => {}
            Event::Zero { offset, len } => {
                let sectors = *len / sector_len as u64;
                let (start, end) = (random.u64() % (sectors + 1), random.u64() % (sectors + 1));
                if start < end {
                    image.zero(offset + start * sector_len as u64, (end - start) * sector_len as u64);
                }
            }
            Event::Write { offset, bytes } => {
                for (number, sector) in bytes.chunks(sector_len).enumerate() {
                    if random.chance(500) {
                        continue;
                    }
                    let len = if core::mem::take(&mut torn) { random.below(sector_len) } else { sector.len() };
                    image.write(offset + (number * sector_len) as u64, &sector[..len]);
                }
            }
        }
    }
}

/// Which of the writes since the last flush are on the medium after a loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// None of them.
    None,
    /// All of them.
    All,
    /// Of every write some sectors, by this seed: so writes seem to have been executed in another order.
    Some(u64),
    /// The same, and sectors may be torn: new bytes at the start, old ones after them. Disks promise that this does not
    /// happen; few formats survive it everywhere.
    Torn(u64),
}

/// Every state a disk went through while it was recorded.
pub struct Recording {
    info: BlockInfo,
    start: Image,
    events: Vec<Event>,
}

impl Recording {
    pub(super) fn new(info: BlockInfo, start: Image, events: Vec<Event>) -> Recording {
        Recording { info, start, events }
    }

    /// How many writes and flushes it has; a cut is possible after 0 to so many.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The disk as it is found after the power was lost when `count` events had been executed.
    ///
    /// # Panics
    ///
    /// There are fewer events.
    pub fn cut(&self, count: usize, survivors: Survivors) -> SimDisk {
        let done = &self.events[..count];
        let safe = done.iter().rposition(|event| matches!(event, Event::Flush)).map_or(0, |last| last + 1);
        let mut image = self.start.clone();
        done[..safe].iter().for_each(|event| event.apply(&mut image));
        let unsafe_ones = &done[safe..];
        match survivors {
            Survivors::None => {}
            Survivors::All => unsafe_ones.iter().for_each(|event| event.apply(&mut image)),
            Survivors::Some(seed) | Survivors::Torn(seed) => {
                let mut random = Random::new(seed);
                let may_tear = matches!(survivors, Survivors::Torn(_));
                let sector_len = self.info.sector_len;
                unsafe_ones.iter().for_each(|event| event.apply_parts(&mut image, sector_len, may_tear, &mut random));
            }
        }
        SimDisk::of(self.info.clone(), image, Behaviour::PROMPT)
    }
}
