//! Finds a flow by its 4-tuple, in a hash table whose hash is keyed: a stranger who chooses addresses and
//! ports cannot choose collisions.

use core::net::{Ipv4Addr, SocketAddrV4};
use hashbrown::HashTable;

/// The 4-tuple of a connection, seen from this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowKey {
    /// Local, peer.
    addresses: u64,
    ports: u32,
}

impl FlowKey {
    pub(crate) fn new(local: SocketAddrV4, peer: SocketAddrV4) -> FlowKey {
        FlowKey {
            addresses: u64::from(local.ip().to_bits()) << 32 | u64::from(peer.ip().to_bits()),
            ports: u32::from(local.port()) << 16 | u32::from(peer.port()),
        }
    }

    pub(crate) fn local(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::from_bits((self.addresses >> 32) as u32), (self.ports >> 16) as u16)
    }

    pub(crate) fn peer(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::from_bits(self.addresses as u32), self.ports as u16)
    }

    pub(crate) fn local_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }
}

/// What a 4-tuple stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A flow, by its number.
    Flow(u32),
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

    pub(crate) fn get(&self, key: &FlowKey) -> Option<Slot> {
        self.table.find(hash(self.secret, key), |(known, _)| known == key).map(|(_, slot)| *slot)
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, key: FlowKey, slot: Slot) {
        let secret = self.secret;
        self.table.insert_unique(hash(secret, &key), (key, slot), |(known, _)| hash(secret, known));
    }

    /// Removes `key` if it stands for `slot`: by now it may stand for a later connection.
    pub(crate) fn remove(&mut self, key: &FlowKey, slot: Slot) {
        let found = self.table.find_entry(hash(self.secret, key), |(known, is)| known == key && *is == slot);
        if let Ok(entry) = found {
            entry.remove();
        }
    }
}

/// SipHash-1-3 (Aumasson, Bernstein 2012) of the twelve bytes of a key, as two words.
fn hash(secret: [u64; 2], key: &FlowKey) -> u64 {
    let mut v = [
        secret[0] ^ 0x736f_6d65_7073_6575,
        secret[1] ^ 0x646f_7261_6e64_6f6d,
        secret[0] ^ 0x6c79_6765_6e65_7261,
        secret[1] ^ 0x7465_6462_7974_6573,
    ];
    // The last word carries the length in its top byte.
    for word in [key.addresses, 12 << 56 | u64::from(key.ports)] {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..3 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `std`'s `SipHasher13` is private; `DefaultHasher` is it, with a key of zeros.
    #[test]
    #[allow(clippy::unusual_byte_groupings)]
    fn it_is_siphash_1_3() {
        use core::hash::Hasher;
        let key = FlowKey { addresses: 0x0102_0304_0506_0708, ports: 0x090a_0b0c };
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(&key.addresses.to_le_bytes());
        hasher.write(&key.ports.to_le_bytes());
        assert_eq!(hash([0, 0], &key), hasher.finish());
    }

    #[test]
    fn another_secret_is_another_order() {
        let key = FlowKey { addresses: 1, ports: 2 };
        assert_ne!(hash([0, 0], &key), hash([1, 0], &key));
    }
}
