//! Whether another host has our IPv4 address (RFC 5227).
//!
//! Unlike the RFC's, our address is in use while it is probed: a machine that boots in milliseconds cannot wait six
//! seconds for its first packet. It is announced only when nobody has objected, so that another owner's place in the
//! caches of the network is not taken by our announcement.

use super::{
    Turn,
    limits::{ARP_ANNOUNCE_PAUSE, ARP_ANNOUNCEMENTS, ARP_DEFEND_PAUSE, ARP_PROBE_PAUSE, ARP_PROBES},
    packet::Mac,
};
use crate::neighbor::{Arp, announcement, probe};
use core::net::Ipv4Addr;
use unikernel_rt::time::Instant;

/// Watches over one address.
pub(crate) struct Watch {
    mac: Mac,
    address: Ipv4Addr,
    /// Probes and announcements sent.
    sent: u8,
    due: Instant,
    /// When it was defended last.
    defended: Option<Instant>,
}

/// What a conflict leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    /// The address was announced once more, and is kept.
    Defended,
    /// The other host insists, or had it before us.
    Lost,
}

impl Watch {
    /// Begins with the first probe, in the next [`poll`](Self::poll).
    pub(crate) fn new(mac: Mac, address: Ipv4Addr, now: Instant) -> Watch {
        Watch { mac, address, sent: 0, due: now, defended: None }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Sends the probe or announcement that is due.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_>) {
        if turn.now < self.due {
            return;
        }
        let probing = self.sent < ARP_PROBES;
        let frame = if probing { probe(self.mac, self.address) } else { announcement(self.mac, self.address) };
        (turn.out)(frame);
        self.sent += 1;
        let (least, most) = ARP_PROBE_PAUSE;
        self.due = match self.sent {
            // The same pause before the first announcement (RFC 5227, 1.1: ANNOUNCE_WAIT).
            sent if sent <= ARP_PROBES => turn.now + least + turn.random_below(most - least),
            sent if sent < ARP_PROBES + ARP_ANNOUNCEMENTS => turn.now + ARP_ANNOUNCE_PAUSE,
            _ => Instant::FOREVER,
        };
    }

    pub(crate) fn next_moment(&self) -> Instant {
        self.due
    }

    /// Takes a packet of another host (RFC 5227, 2.4).
    pub(crate) fn on_arp(&mut self, arp: &Arp, turn: &mut Turn<'_>) -> Option<Conflict> {
        if arp.sender.1 != self.address {
            return None;
        }
        let defended = self.defended.replace(turn.now);
        let again = defended.is_some_and(|defended| turn.now < defended + ARP_DEFEND_PAUSE);
        if again || self.sent <= ARP_PROBES {
            return Some(Conflict::Lost);
        }
        (turn.out)(announcement(self.mac, self.address));
        Some(Conflict::Defended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::testing::{Bench, EVIL_MAC, OWN_MAC},
        neighbor::Operation,
    };
    use std::vec::Vec;
    use unikernel_rt::time::Duration;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn run(watch: &mut Watch, bench: &mut Bench, seconds: u64) -> Vec<Ipv4Addr> {
        let end = bench.now + Duration::from_secs(seconds);
        loop {
            bench.step(|turn| watch.poll(turn));
            if watch.next_moment() > end {
                break;
            }
            bench.now = watch.next_moment();
        }
        bench.now = end;
        bench.take().iter().map(|frame| Arp::parse(frame, [0; 6]).unwrap().sender.1).collect()
    }

    fn claim(watch: &mut Watch, bench: &mut Bench, ip: Ipv4Addr) -> Option<Conflict> {
        let arp = Arp { operation: Operation::Reply, sender: (EVIL_MAC, ip), target: (OWN_MAC, OWN) };
        bench.step(|turn| watch.on_arp(&arp, turn))
    }

    #[test]
    fn an_address_is_probed_then_announced() {
        let (mut bench, nobody) = (Bench::new(), Ipv4Addr::UNSPECIFIED);
        let mut watch = Watch::new(OWN_MAC, OWN, bench.now);
        assert_eq!(run(&mut watch, &mut bench, 60), [nobody, nobody, nobody, OWN, OWN]);
        assert_eq!(watch.next_moment(), Instant::FOREVER);
    }

    #[test]
    fn another_owner_wins_at_first() {
        let mut bench = Bench::new();
        let mut watch = Watch::new(OWN_MAC, OWN, bench.now);
        run(&mut watch, &mut bench, 0);
        assert_eq!(claim(&mut watch, &mut bench, Ipv4Addr::new(10, 0, 0, 3)), None);
        assert_eq!(claim(&mut watch, &mut bench, OWN), Some(Conflict::Lost));
    }

    #[test]
    fn an_address_in_use_is_defended_once() {
        let mut bench = Bench::new();
        let mut watch = Watch::new(OWN_MAC, OWN, bench.now);
        run(&mut watch, &mut bench, 60);
        assert_eq!(claim(&mut watch, &mut bench, OWN), Some(Conflict::Defended));
        assert_eq!(bench.take().len(), 1);
        bench.pass(ARP_DEFEND_PAUSE);
        assert_eq!(claim(&mut watch, &mut bench, OWN), Some(Conflict::Defended));
        bench.pass(Duration::from_secs(1));
        assert_eq!(claim(&mut watch, &mut bench, OWN), Some(Conflict::Lost));
    }
}
