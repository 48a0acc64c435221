//! Our IPv6 addresses: made, tested for another owner (RFC 4862, 5.4; RFC 4429), aged.

use super::super::{
    Address6, Ipv6Cidr, State6, Turn,
    limits::{ADDRESSES_MAX, DUPLICATE_WAIT, IDS_MAX, LIFETIME_UNPROVEN_MIN},
    packet::Mac,
};
use super::ids::Ids;
use crate::neighbor::nd;
use alloc::vec::Vec;
use core::net::Ipv6Addr;
use unikernel_rt::time::Instant;

/// How an address came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Every port has one for its link.
    LinkLocal,
    /// Somebody wrote it down.
    Static,
    /// From a router's prefix.
    Prefix,
    /// From a DHCPv6 server.
    Dhcp,
}

/// One address.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) cidr: Ipv6Cidr,
    pub(super) origin: Origin,
    /// Until when another owner may object.
    tested: Option<Instant>,
    pub(super) preferred: Instant,
    pub(super) valid: Instant,
    /// Identifiers tried before.
    tries: u8,
    /// As it was told last.
    state: State6,
}

impl Own {
    fn state(&self, now: Instant) -> State6 {
        match self.tested {
            // RFC 4429, section 2: what somebody wrote down may well be written down twice.
            Some(_) if self.origin == Origin::Static => State6::Tentative,
            Some(_) => State6::Optimistic,
            None if self.preferred <= now => State6::Deprecated,
            None => State6::Preferred,
        }
    }

    fn next_moment(&self) -> Instant {
        let preferred = if self.state == State6::Preferred { self.preferred } else { Instant::FOREVER };
        self.tested.unwrap_or(Instant::FOREVER).min(preferred).min(self.valid)
    }
}

/// All of them.
pub(super) struct Owns {
    mac: Mac,
    ids: Ids,
    list: Vec<Own>,
}

impl Owns {
    pub(super) fn new(mac: Mac, ids: Ids) -> Owns {
        Owns { mac, ids, list: Vec::new() }
    }

    /// An address for a network of 64 bits, from our identifier there.
    pub(super) fn make(&self, network: Ipv6Addr, tries: u8) -> Option<Ipv6Cidr> {
        let id = self.ids.id(network, self.mac, tries)?;
        let high = network.to_bits() >> 64 << 64;
        Ipv6Cidr::new(Ipv6Addr::from_bits(high | u128::from(id)), 64)
    }

    /// Adds an address, and asks whether somebody has it. Says whether there was room.
    pub(super) fn add(
        &mut self,
        cidr: Ipv6Cidr,
        origin: Origin,
        ends: (Instant, Instant),
        turn: &mut Turn<'_>,
    ) -> bool {
        self.add_try(cidr, origin, ends, 0, turn)
    }

    fn add_try(
        &mut self,
        cidr: Ipv6Cidr,
        origin: Origin,
        ends: (Instant, Instant),
        tries: u8,
        turn: &mut Turn<'_>,
    ) -> bool {
        if self.list.len() >= ADDRESSES_MAX || self.get(cidr.address()).is_some() {
            return false;
        }
        let (preferred, valid) = ends;
        let tested = Some(turn.now + DUPLICATE_WAIT);
        let mut own = Own { cidr, origin, tested, preferred, valid, tries, state: State6::Tentative };
        own.state = own.state(turn.now);
        self.list.push(own);
        (turn.out)(nd::duplicate_probe(self.mac, cidr.address()));
        true
    }

    pub(super) fn get(&self, address: Ipv6Addr) -> Option<&Own> {
        self.list.iter().find(|own| own.cidr.address() == address)
    }

    /// The address made for a router's network, if there is one.
    pub(super) fn of_network(&mut self, network: Ipv6Cidr) -> Option<&mut Own> {
        self.list.iter_mut().find(|own| own.origin == Origin::Prefix && network.contains(own.cidr.address()))
    }

    pub(super) fn list(&self) -> impl Iterator<Item = Address6> {
        self.list.iter().map(|own| Address6 { cidr: own.cidr, state: own.state })
    }

    pub(super) fn link_local(&self) -> Option<Address6> {
        let own = self.list.iter().find(|own| own.origin == Origin::LinkLocal)?;
        Some(Address6 { cidr: own.cidr, state: own.state })
    }

    /// Lets the addresses go that `keep` does not want; says whether there were some.
    pub(super) fn retain(&mut self, keep: impl Fn(&Own) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(keep);
        self.list.len() != before
    }

    /// Sets the life of an address, whatever it was; the next `poll` takes note.
    pub(super) fn set_ends(&mut self, address: Ipv6Addr, (preferred, valid): (Instant, Instant)) {
        if let Some(own) = self.list.iter_mut().find(|own| own.cidr.address() == address) {
            (own.preferred, own.valid) = (preferred, valid);
        }
    }

    /// Somebody has an address that we test. Another identifier is tried where there is one.
    pub(super) fn conflict(&mut self, address: Ipv6Addr, turn: &mut Turn<'_>) -> Option<Origin> {
        let place = self.list.iter().position(|own| own.cidr.address() == address && own.tested.is_some())?;
        let own = self.list.remove(place);
        let made = matches!(own.origin, Origin::LinkLocal | Origin::Prefix);
        if made
            && own.tries < IDS_MAX
            && let Some(cidr) = self.make(address, own.tries + 1)
        {
            self.add_try(cidr, own.origin, (own.preferred, own.valid), own.tries + 1, turn);
        }
        Some(own.origin)
    }

    /// Lets time pass; says whether something changed.
    pub(super) fn poll(&mut self, now: Instant) -> bool {
        let mut changed = self.retain(|own| own.valid > now);
        for own in &mut self.list {
            own.tested = own.tested.filter(|tested| *tested > now);
            let state = own.state(now);
            changed |= state != own.state;
            own.state = state;
        }
        changed
    }

    pub(super) fn next_moment(&self) -> Instant {
        self.list.iter().map(Own::next_moment).min().unwrap_or(Instant::FOREVER)
    }
}

/// The end of an address's life after an advertisement that nobody proved (RFC 4862, 5.5.3 e): a stranger cannot end
/// it at once.
pub(super) fn extended(valid: Instant, wanted: Instant, now: Instant) -> Instant {
    let least = now + LIFETIME_UNPROVEN_MIN;
    if wanted > least || wanted > valid { wanted } else { valid.min(least) }
}
