//! Handshakes that are not done: what a SYN said and what we answered, without any buffer, so that a flood of SYNs
//! costs little. The table is bounded; when it is full, handshakes are not remembered at all (SYN cookies).

use crate::{flow_map::FlowKey, limits::SYN_ACK_DELAYS, packet::Mac};
use alloc::collections::VecDeque;
use slab::Slab;
use unikernel_rt::time::Instant;

/// Memory for so many handshakes is not worth giving back.
const SMALL: usize = 64;

/// A handshake: a SYN came, and was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) key: FlowKey,
    pub(crate) interface: u8,
    /// Where the SYN came from.
    pub(crate) path: Mac,
    /// The sequence number of the SYN.
    pub(crate) peer_sequence: u32,
    /// The sequence number of our answer.
    pub(crate) sequence: u32,
    pub(crate) mss: u16,
    pub(crate) scale: Option<u8>,
    pub(crate) takes_sack: bool,
    /// When the last answer was sent, and how often it was sent again: a round trip can be measured if never.
    pub(crate) sent: Instant,
    pub(crate) repeats: u8,
}

struct Entry {
    handshake: Handshake,
    /// Tells an entry from those that had its place before.
    generation: u32,
}

/// When to look at an entry again.
struct Look {
    at: Instant,
    id: u32,
    generation: u32,
}

/// The handshakes that are remembered.
pub(crate) struct HalfOpen {
    entries: Slab<Entry>,
    generation: u32,
    /// By the number of repeats. All in one queue wait equally long, so each is in order.
    looks: [VecDeque<Look>; SYN_ACK_DELAYS.len()],
    max: usize,
}

/// What to do about a handshake whose answer is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Send the answer again.
    Repeat(Handshake),
    /// The peer does not exist, or does not want. It is not in the table any more.
    GiveUp(FlowKey, u32),
}

impl HalfOpen {
    pub(crate) fn new(max: usize) -> HalfOpen {
        HalfOpen { entries: Slab::new(), generation: 0, looks: Default::default(), max }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Numbers beyond this are nobody's.
    pub(crate) fn places(&self) -> usize {
        self.entries.capacity()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= self.max
    }

    /// Remembers a handshake. The caller has made sure that there is room.
    pub(crate) fn insert(&mut self, handshake: Handshake) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let id = self.entries.insert(Entry { handshake, generation }) as u32;
        self.looks[0].push_back(Look { at: handshake.sent + SYN_ACK_DELAYS[0], id, generation });
        id
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Handshake> {
        self.entries.get(id as usize).map(|entry| &entry.handshake)
    }

    /// The SYN came again, perhaps another way.
    pub(crate) fn set_path(&mut self, id: u32, path: Mac) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            entry.handshake.path = path;
        }
    }

    /// Forgets a handshake: it is done, or refused. Its look finds nothing later.
    pub(crate) fn remove(&mut self, id: u32) -> Option<Handshake> {
        self.entries.try_remove(id as usize).map(|entry| entry.handshake)
    }

    /// When something is overdue next. Early when that one is gone by then.
    pub(crate) fn next_moment(&self) -> Instant {
        self.looks.iter().filter_map(|queue| queue.front()).map(|look| look.at).min().unwrap_or(Instant::FOREVER)
    }

    /// The next overdue handshake.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Overdue> {
        let overdue = (0..self.looks.len()).find_map(|turn| self.poll_queue(turn, now));
        if self.entries.is_empty() && self.entries.capacity() > SMALL {
            // The flood is over.
            *self = HalfOpen { generation: self.generation, ..HalfOpen::new(self.max) };
        }
        overdue
    }

    fn poll_queue(&mut self, turn: usize, now: Instant) -> Option<Overdue> {
        loop {
            let look = self.looks[turn].front()?;
            let (at, id, generation) = (look.at, look.id, look.generation);
            let entry = self.entries.get_mut(id as usize).filter(|entry| entry.generation == generation);
            if entry.is_some() && at > now {
                return None;
            }
            self.looks[turn].pop_front();
            let Some(entry) = entry else { continue };
            let Some(delay) = SYN_ACK_DELAYS.get(turn + 1) else {
                let key = entry.handshake.key;
                self.entries.remove(id as usize);
                return Some(Overdue::GiveUp(key, id));
            };
            entry.handshake.repeats += 1;
            entry.handshake.sent = now;
            let handshake = entry.handshake;
            self.looks[turn + 1].push_back(Look { at: now + *delay, id, generation });
            return Some(Overdue::Repeat(handshake));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use unikernel_rt::time::Duration;

    fn handshake(port: u16, sent: Instant) -> Handshake {
        let peer = core::net::SocketAddr::new([10, 0, 0, 2].into(), port);
        Handshake {
            key: FlowKey::new("10.0.0.1:80".parse().unwrap(), peer),
            interface: 0,
            path: [2; 6],
            peer_sequence: 1,
            sequence: 2,
            mss: 1460,
            scale: None,
            takes_sack: false,
            sent,
            repeats: 0,
        }
    }

    /// The moments, in seconds, at which a handshake without an answer is looked at.
    #[test]
    fn an_answer_is_repeated_and_then_given_up() {
        let mut table = HalfOpen::new(1);
        let start = Instant::from_micros(0);
        let id = table.insert(handshake(1, start));
        assert!(table.is_full());
        let mut moments = Vec::new();
        while table.len() > 0 {
            let now = table.next_moment();
            moments.push((now - start).as_secs());
            match table.poll(now).unwrap() {
                Overdue::Repeat(handshake) => assert_eq!(usize::from(handshake.repeats), moments.len()),
                Overdue::GiveUp(key, gone) => assert_eq!((key.peer_port(), gone), (1, id)),
            }
            assert_eq!(table.poll(now), None);
        }
        assert_eq!(moments, [1, 3, 7, 15, 31]);
        assert_eq!(table.next_moment(), Instant::FOREVER);
    }

    #[test]
    fn one_that_is_done_is_not_repeated_nor_its_successor_too_early() {
        let mut table = HalfOpen::new(10);
        let start = Instant::from_micros(0);
        let later = start + Duration::from_millis(500);
        let first = table.insert(handshake(1, start));
        assert_eq!(table.remove(first).unwrap().key.peer_port(), 1);
        let second = table.insert(handshake(2, later));
        assert_eq!(first, second, "the place is used again");
        assert_eq!(table.poll(start + Duration::from_secs(1)), None);
        assert!(matches!(table.poll(later + Duration::from_secs(1)), Some(Overdue::Repeat(_))));
    }
}
