//! Finds a flow by its 4-tuple, in a hash table whose hash is keyed: a stranger who chooses addresses and
//! ports cannot choose collisions.

use crate::siphash::siphash13;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use hashbrown::HashTable;

/// An address of either family in two words: IPv4 as IPv6 has it (RFC 4291, 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    high: u64,
    low: u64,
}

/// What stands before an IPv4 address in the lower word.
const MAPPED: u64 = 0xffff << 32;

impl Address {
    #[inline]
    pub(crate) fn v4(bits: u32) -> Address {
        Address { high: 0, low: MAPPED | u64::from(bits) }
    }

    pub(crate) fn from_octets(octets: [u8; 16]) -> Address {
        let bits = u128::from_be_bytes(octets);
        Address { high: (bits >> 64) as u64, low: bits as u64 }
    }

    #[inline]
    pub(crate) fn is_v4(self) -> bool {
        self.high == 0 && self.low >> 32 == 0xffff
    }

    /// The block that one customer usually has: an IPv4 address, or a network of IPv6.
    pub(crate) fn source(self) -> u64 {
        if self.is_v4() { self.low } else { self.high }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Address {
        match address {
            IpAddr::V4(address) => Address::v4(address.to_bits()),
            IpAddr::V6(address) => Address::from_octets(address.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> IpAddr {
        match address.is_v4() {
            true => Ipv4Addr::from_bits(address.low as u32).into(),
            false => Ipv6Addr::from_bits(u128::from(address.high) << 64 | u128::from(address.low)).into(),
        }
    }
}

/// The 4-tuple of a connection, seen from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowKey {
    pub(crate) local: Address,
    pub(crate) peer: Address,
    /// Local, peer.
    ports: u32,
}

impl FlowKey {
    pub(crate) fn new(local: SocketAddr, peer: SocketAddr) -> FlowKey {
        let ports = u32::from(local.port()) << 16 | u32::from(peer.port());
        FlowKey { local: local.ip().into(), peer: peer.ip().into(), ports }
    }

    #[inline]
    pub(crate) fn v4(local: u32, peer: u32, ports: u32) -> FlowKey {
        FlowKey { local: Address::v4(local), peer: Address::v4(peer), ports }
    }

    pub(crate) fn v6(local: Address, peer: Address, ports: u32) -> FlowKey {
        FlowKey { local, peer, ports }
    }

    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local.into(), self.local_port())
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.peer.into(), self.peer_port())
    }

    #[inline]
    pub(crate) fn local_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    pub(crate) fn peer_port(&self) -> u16 {
        self.ports as u16
    }

    #[inline]
    pub(crate) fn is_v4(&self) -> bool {
        self.peer.is_v4()
    }

    /// A keyed hash for the table.
    #[inline]
    fn hash(&self, secret: [u64; 2]) -> u64 {
        let ports = u64::from(self.ports);
        if self.is_v4() {
            // Two addresses in a word, and the length in the top byte of the last, as SipHash has it.
            return siphash13(secret, &[self.local.low << 32 | self.peer.low & 0xffff_ffff, 12 << 56 | ports]);
        }
        siphash13(secret, &[self.local.high, self.local.low, self.peer.high, self.peer.low, 36 << 56 | ports])
    }

    /// All of it, for hashes.
    pub(crate) fn words(&self) -> [u64; 5] {
        [self.local.high, self.local.low, self.peer.high, self.peer.low, u64::from(self.ports)]
    }
}

/// What a 4-tuple stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A flow, by its number.
    Flow(u32),
    /// A handshake that is not done, by its number there.
    HalfOpen(u32),
    /// A connection that ended and is remembered, by its number there.
    TimeWait(u32),
}

pub(crate) struct FlowMap {
    table: HashTable<(FlowKey, Slot)>,
    secret: [u64; 2],
}

impl FlowMap {
    pub(crate) fn new(secret: [u64; 2]) -> FlowMap {
        FlowMap { table: HashTable::new(), secret }
    }

    #[inline]
    pub(crate) fn get(&self, key: &FlowKey) -> Option<Slot> {
        self.table.find(key.hash(self.secret), |(known, _)| known == key).map(|(_, slot)| *slot)
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, key: FlowKey, slot: Slot) {
        let secret = self.secret;
        self.table.insert_unique(key.hash(secret), (key, slot), |(known, _)| known.hash(secret));
    }

    /// Lets a key that is there stand for something else.
    pub(crate) fn replace(&mut self, key: &FlowKey, slot: Slot) {
        if let Some((_, stands_for)) = self.table.find_mut(key.hash(self.secret), |(known, _)| known == key) {
            *stands_for = slot;
        }
    }

    /// Removes `key` if it stands for `slot`: by now it may stand for a later connection.
    pub(crate) fn remove(&mut self, key: &FlowKey, slot: Slot) {
        let found = self.table.find_entry(key.hash(self.secret), |(known, is)| known == key && *is == slot);
        if let Ok(entry) = found {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(local: &str, peer: &str) -> FlowKey {
        FlowKey::new(local.parse().unwrap(), peer.parse().unwrap())
    }

    #[test]
    fn another_secret_is_another_order() {
        let key = key("10.0.0.1:80", "10.0.0.2:5000");
        assert_ne!(key.hash([0, 0]), key.hash([1, 0]));
    }

    #[test]
    fn keys_give_back_what_they_were_made_of() {
        for (local, peer) in [("10.0.0.1:80", "255.0.0.2:65535"), ("[2001:db8::1]:443", "[fe80::2]:1")] {
            let key = key(local, peer);
            assert_eq!((key.local(), key.peer()), (local.parse().unwrap(), peer.parse().unwrap()));
            assert_eq!(key.is_v4(), key.local().is_ipv4());
        }
    }

    #[test]
    fn a_key_stands_for_one_thing() {
        let mut map = FlowMap::new([1, 2]);
        let key = key("[2001:db8::1]:443", "[2001:db8::2]:1000");
        map.insert(key, Slot::HalfOpen(3));
        map.replace(&key, Slot::Flow(5));
        assert_eq!(map.get(&key), Some(Slot::Flow(5)));
        map.remove(&key, Slot::HalfOpen(3));
        assert_eq!(map.get(&key), Some(Slot::Flow(5)));
        map.remove(&key, Slot::Flow(5));
        assert_eq!(map.get(&key), None);
    }
}
