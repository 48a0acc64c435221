//! Finds a flow by its 4-tuple, in a hash table whose hash is keyed: a stranger who chooses addresses and
//! ports cannot choose collisions.

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

    /// A keyed hash for the table: multiplications folded into 64 bits, as by wyhash. Nobody outside sees its values or
    /// knows the key, so nobody can choose keys that collide; for numbers that leave the machine there is SipHash.
    #[inline]
    fn hash(&self, secret: [u64; 2]) -> u64 {
        let ports = u64::from(self.ports) ^ secret[1];
        if self.is_v4() {
            return fold((self.local.low << 32 | self.peer.low & 0xffff_ffff) ^ secret[0], ports);
        }
        let local = fold(self.local.high ^ secret[0], self.local.low ^ secret[1]);
        let peer = fold(self.peer.high ^ secret[0] ^ local, self.peer.low ^ secret[1]);
        fold(peer ^ secret[0], ports)
    }

    /// All of it, for hashes.
    pub(crate) fn words(&self) -> [u64; 5] {
        [self.local.high, self.local.low, self.peer.high, self.peer.low, u64::from(self.ports)]
    }
}

/// The product, its upper half folded into the lower; and once more, so that every bit counts for the table's few.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let folded = product as u64 ^ (product >> 64) as u64;
    // A fraction of the golden ratio, made odd.
    let product = u128::from(folded) * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
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

/// A table of so many entries is not worth shrinking.
const SMALL: usize = 512;

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
            self.shrink();
        }
    }

    /// Gives back what a flood has needed, once little of it is used.
    #[inline]
    fn shrink(&mut self) {
        let (len, capacity) = (self.table.len(), self.table.capacity());
        if capacity > SMALL && len < capacity / 8 {
            let secret = self.secret;
            self.table.shrink_to(2 * len, |(known, _)| known.hash(secret));
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

    /// As many connections as ports, from one address and from many: no bucket of a table gets much more than its share.
    #[test]
    fn hashes_are_spread() {
        let secret = [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321];
        let one = |port: u32| key("10.0.0.1:80", &std::format!("10.0.0.2:{port}"));
        let many = |host: u32| key("[2001:db8::1]:80", &std::format!("[2001:db8::{host:x}]:5000"));
        for keys in [&one as &dyn Fn(u32) -> FlowKey, &many] {
            let mut buckets = [0; 4096];
            for number in 1..=40_960 {
                buckets[(keys(number).hash(secret) & 4095) as usize] += 1;
            }
            // Ten on average; of a Poisson distribution, one bucket in a hundred million has more than 30.
            assert!(buckets.iter().all(|count| *count <= 30), "{}", buckets.iter().max().unwrap());
        }
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
