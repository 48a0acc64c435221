//! What was answered, for as long as the answers live.

use super::{
    limits::{CACHE_ENTRIES_MAX, CACHE_LEN_MAX, NEGATIVE_TTL_MAX, TTL_MAX, TTL_MIN},
    message::Question,
};
use alloc::vec::Vec;
use core::net::IpAddr;
use unikernel_rt::time::{Duration, Instant};

/// What a question comes to, aliases followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Addresses(Vec<IpAddr>),
    NoName,
    NoData,
}

/// Answers, bounded in number and memory; those that end first go first.
///
/// A sorted list: with so few entries, moving them costs little, and a tree would be 10 KB of code.
#[derive(Default)]
pub(crate) struct Cache {
    /// By question.
    entries: Vec<Entry>,
    /// What the entries take, by [`cost`].
    len: usize,
}

struct Entry {
    question: Question,
    known: Known,
    ends: Instant,
}

impl Cache {
    pub(crate) fn get(&self, question: &Question, now: Instant) -> Option<&Known> {
        let entry = self.place(question).ok().map(|place| &self.entries[place])?;
        (entry.ends > now).then_some(&entry.known)
    }

    /// Remembers an answer whose time to live is `ttl` seconds; an absence without one is not remembered.
    pub(crate) fn put(&mut self, question: Question, known: Known, ttl: Option<u32>, now: Instant) {
        let Some(ttl) = ttl else { return };
        let longest = if matches!(known, Known::Addresses(_)) { TTL_MAX } else { NEGATIVE_TTL_MAX };
        let ends = now + Duration::from_secs(ttl.into()).clamp(TTL_MIN, longest);
        let entry = Entry { question, known, ends };
        self.len += cost(&entry);
        match self.place(&entry.question) {
            Ok(place) => self.len -= cost(&core::mem::replace(&mut self.entries[place], entry)),
            Err(place) => self.entries.insert(place, entry),
        }
        while self.entries.len() > CACHE_ENTRIES_MAX || self.len > CACHE_LEN_MAX {
            self.evict();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Cache::default();
    }

    /// Where the entry is, or would be.
    fn place(&self, question: &Question) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.question.cmp(question))
    }

    fn evict(&mut self) {
        let first = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.ends);
        if let Some(place) = first.map(|(place, _)| place) {
            self.len -= cost(&self.entries.remove(place));
        }
    }
}

/// Bytes that an entry takes.
fn cost(entry: &Entry) -> usize {
    let addresses = if let Known::Addresses(addresses) = &entry.known { addresses.capacity() } else { 0 };
    size_of::<Entry>() + entry.question.name.wire().len() + addresses * size_of::<IpAddr>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{message::Kind, name::Name};
    use std::{format, net::Ipv4Addr, vec};

    fn question(name: &str) -> Question {
        Question { name: Name::parse(name).unwrap(), kind: Kind::A }
    }

    fn addresses(count: usize) -> Known {
        Known::Addresses(vec![Ipv4Addr::LOCALHOST.into(); count])
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    /// For how many seconds an answer with `ttl` is known.
    fn check(known: Known, ttl: Option<u32>, expected: u64) {
        let mut cache = Cache::default();
        cache.put(question("a.b"), known.clone(), ttl, at(100));
        if expected > 0 {
            assert_eq!(cache.get(&question("A.b"), at(100 + expected - 1)), Some(&known));
        }
        assert_eq!(cache.get(&question("a.b"), at(100 + expected)), None, "{known:?} {ttl:?}");
        assert_eq!(cache.get(&Question { kind: Kind::Aaaa, ..question("a.b") }, at(100)), None);
    }

    #[test]
    fn answers_live_as_long_as_they_say_within_bounds() {
        check(addresses(1), Some(60), 60);
        check(addresses(1), Some(0), 1);
        check(addresses(1), Some(u32::MAX), 86_400);
        check(Known::NoName, Some(60), 60);
        check(Known::NoData, Some(86_400), 300);
        check(Known::NoName, None, 0);
    }

    #[test]
    fn those_that_end_first_go_first() {
        let mut cache = Cache::default();
        for index in 0..2 * CACHE_ENTRIES_MAX as u32 {
            cache.put(question(&format!("n{index}")), Known::NoName, Some(10 + index % 200), at(0));
            assert!(cache.entries.len() <= CACHE_ENTRIES_MAX && cache.len <= CACHE_LEN_MAX);
        }
        assert_eq!(cache.entries.len(), CACHE_ENTRIES_MAX);
        let left = |ends: u64| cache.entries.iter().filter(|entry| entry.ends == at(ends)).count();
        // 200 different times, about 5 names each: the upper half stays, but for the last put.
        assert!(left(10 + 30) <= 1 && left(10 + 199) == 5, "{} {}", left(40), left(209));
    }

    #[test]
    fn memory_is_bounded_too() {
        let mut cache = Cache::default();
        for index in 0..CACHE_ENTRIES_MAX {
            cache.put(question(&format!("n{index}")), addresses(32), Some(60), at(0));
            assert!(cache.len <= CACHE_LEN_MAX, "{}", cache.len);
        }
        let sum: usize = cache.entries.iter().map(cost).sum();
        assert_eq!(cache.len, sum);
        assert!(cache.entries.len() > 50 && cache.entries.len() < CACHE_ENTRIES_MAX);
        cache.put(question("n1"), Known::NoName, Some(60), at(0));
        cache.clear();
        assert_eq!((cache.len, cache.entries.len()), (0, 0));
    }
}
