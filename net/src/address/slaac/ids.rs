//! The half of an IPv6 address that names the machine.

use super::super::packet::Mac;
use core::net::Ipv6Addr;

/// How interface identifiers are made.
#[derive(Clone, Copy)]
pub(crate) enum Ids {
    /// RFC 7217: from a secret, another one for each network, so that a machine cannot be followed. With a secret
    /// that is new at every boot, so are the addresses.
    Stable([u64; 2]),
    /// From the Ethernet address (RFC 4291, appendix A): known before the boot, and the same after every one.
    Eui64,
}

impl Ids {
    /// The identifier in `network`; `None` when there is no other to try.
    #[allow(deprecated, reason = "the one keyed hash in `core`: SipHash-2-4, made to be a pseudo-random function")]
    pub(super) fn id(&self, network: Ipv6Addr, mac: Mac, tries: u8) -> Option<u64> {
        use core::hash::Hasher;
        match self {
            Ids::Stable([a, b]) => {
                let mut hash = core::hash::SipHasher::new_with_keys(*a, *b);
                hash.write(&network.octets()[..8]);
                hash.write(&mac);
                hash.write(&[tries]);
                Some(hash.finish()).filter(|id| !is_reserved(*id))
            }
            Ids::Eui64 if tries == 0 => {
                let [a, b, c, d, e, f] = mac;
                Some(u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]))
            }
            Ids::Eui64 => None,
        }
    }
}

/// RFC 5453: all routers, and anycast addresses.
fn is_reserved(id: u64) -> bool {
    id == 0 || (0xfdff_ffff_ffff_ff80..=0xfdff_ffff_ffff_ffff).contains(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

    fn id(ids: Ids, network: &str, tries: u8) -> Option<u64> {
        ids.id(network.parse().unwrap(), MAC, tries)
    }

    #[test]
    fn from_the_ethernet_address() {
        assert_eq!(id(Ids::Eui64, "fe80::", 0), Some(0x5054_00ff_fe12_3456));
        assert_eq!(id(Ids::Eui64, "fe80::", 1), None);
    }

    #[test]
    fn stable_and_different_everywhere() {
        let ids = Ids::Stable([1, 2]);
        let all = [id(ids, "2001:db8::", 0), id(ids, "2001:db8::", 1), id(ids, "2001:db8:1::", 0)];
        let other = id(Ids::Stable([1, 3]), "2001:db8::", 0);
        assert_eq!(all[0], id(ids, "2001:db8::9", 0), "only the network counts");
        assert!(all[0] != all[1] && all[0] != all[2] && all[0] != other);
        assert!(all.iter().all(Option::is_some));
    }
}
