//! How many connections each source has: one must not take what all need.

use crate::{flow_map::Address, siphash::siphash13};
use hashbrown::HashTable;

/// Counts by source: an IPv4 address, or a network of 64 bits of IPv6, which is what one host can have all of.
pub(crate) struct Sources {
    counts: HashTable<(u64, u32)>,
    secret: [u64; 2],
}

impl Sources {
    pub(crate) fn new(secret: [u64; 2]) -> Sources {
        Sources { counts: HashTable::new(), secret }
    }

    /// How many connections `address` has.
    pub(crate) fn count(&self, address: Address) -> usize {
        let source = address.source();
        let found = self.counts.find(hash(self.secret, source), |(known, _)| *known == source);
        found.map_or(0, |(_, count)| *count as usize)
    }

    pub(crate) fn add(&mut self, address: Address) {
        let (secret, source) = (self.secret, address.source());
        let entry =
            self.counts.entry(hash(secret, source), |(known, _)| *known == source, |(known, _)| hash(secret, *known));
        entry.or_insert((source, 0)).into_mut().1 += 1;
    }

    /// Takes back one [`add`](Self::add).
    pub(crate) fn remove(&mut self, address: Address) {
        let source = address.source();
        let found = self.counts.find_entry(hash(self.secret, source), |(known, _)| *known == source);
        let Ok(mut entry) = found else { return };
        entry.get_mut().1 -= 1;
        if entry.get().1 == 0 {
            entry.remove();
        }
    }
}

#[inline]
fn hash(secret: [u64; 2], source: u64) -> u64 {
    siphash13(secret, &[source, 8 << 56])
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn at(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn sources_are_counted_apart() {
        let mut sources = Sources::new([1, 2]);
        for _ in 0..3 {
            sources.add(at("10.0.0.1"));
        }
        sources.add(at("2001:db8:0:1::1"));
        assert_eq!((sources.count(at("10.0.0.1")), sources.count(at("10.0.0.2"))), (3, 0));
        assert_eq!(sources.count(at("2001:db8:0:1::ffff")), 1, "one network is one source");
        assert_eq!(sources.count(at("2001:db8:0:2::1")), 0);
    }

    #[test]
    fn nothing_is_left_of_a_source_without_connections() {
        let mut sources = Sources::new([1, 2]);
        sources.add(at("10.0.0.1"));
        sources.remove(at("10.0.0.1"));
        sources.remove(at("10.0.0.1"));
        assert_eq!((sources.count(at("10.0.0.1")), sources.counts.len()), (0, 0));
    }
}
