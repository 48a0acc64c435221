//! What was answered, for as long as the answers live.

use super::{
    limits::{CACHE_ENTRIES_MAX, CACHE_LEN_MAX, NEGATIVE_TTL_MAX, TTL_MAX, TTL_MIN},
    message::Question,
};
use alloc::{collections::BTreeMap, vec::Vec};
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
#[derive(Default)]
pub(crate) struct Cache {
    entries: BTreeMap<Question, Entry>,
    /// What the entries take, by [`cost`].
    len: usize,
}

struct Entry {
    known: Known,
    ends: Instant,
}

impl Cache {
    pub(crate) fn get(&self, question: &Question, now: Instant) -> Option<&Known> {
        self.entries.get(question).filter(|entry| entry.ends > now).map(|entry| &entry.known)
    }

    /// Remembers an answer whose time to live is `ttl` seconds; an absence without one is not remembered.
    pub(crate) fn put(&mut self, question: Question, known: Known, ttl: Option<u32>, now: Instant) {
        let Some(ttl) = ttl else { return };
        let longest = if matches!(known, Known::Addresses(_)) { TTL_MAX } else { NEGATIVE_TTL_MAX };
        let ends = now + Duration::from_secs(ttl.into()).clamp(TTL_MIN, longest);
        self.remove(&question);
        self.len += cost(&question, &known);
        self.entries.insert(question, Entry { known, ends });
        while self.entries.len() > CACHE_ENTRIES_MAX || self.len > CACHE_LEN_MAX {
            self.evict();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Cache::default();
    }

    /// Looks at all entries, which are few, and only when the cache is full.
    fn evict(&mut self) {
        let first = self.entries.iter().min_by_key(|(_, entry)| entry.ends).map(|(question, _)| question.clone());
        if let Some(question) = first {
            self.remove(&question);
        }
    }

    fn remove(&mut self, question: &Question) {
        if let Some(entry) = self.entries.remove(question) {
            self.len -= cost(question, &entry.known);
        }
    }
}

/// Bytes that an entry takes.
fn cost(question: &Question, known: &Known) -> usize {
    let addresses = if let Known::Addresses(addresses) = known { addresses.capacity() } else { 0 };
    size_of::<(Question, Entry)>() + question.name.wire().len() + addresses * size_of::<IpAddr>()
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
        let left = |ends: u64| cache.entries.values().filter(|entry| entry.ends == at(ends)).count();
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
        let sum: usize = cache.entries.iter().map(|(question, entry)| cost(question, &entry.known)).sum();
        assert_eq!(cache.len, sum);
        assert!(cache.entries.len() > 50 && cache.entries.len() < CACHE_ENTRIES_MAX);
        cache.put(question("n1"), Known::NoName, Some(60), at(0));
        cache.clear();
        assert_eq!((cache.len, cache.entries.len()), (0, 0));
    }
}
