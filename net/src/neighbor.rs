//! Who on the link has which Ethernet address: one cache for ARP (RFC 826) and neighbour discovery (RFC 4861).
//!
//! An entry is made only when this machine has something to send to the neighbour. What others say without being
//! asked never makes one, and never changes the Ethernet address in one: a claim that contradicts an entry makes us
//! ask the known address, and only when that stays silent, everybody. Here we are stricter than RFC 4861, 7.2.5,
//! which lets an unsolicited advertisement with the override flag replace an address; the price is that a
//! neighbour's move to other hardware is noticed after three seconds, not at once.

mod arp;
mod entry;
pub(crate) mod nd;
mod waiting;

#[cfg(test)]
mod tests;

use crate::address::{
    Addresses, Turn,
    limits::*,
    packet::{BROADCAST, ETHERNET_LEN, Mac, TYPE_IPV4, TYPE_IPV6, group_mac4, group_mac6},
};
use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
#[cfg(test)]
pub(crate) use arp::Operation;
pub(crate) use arp::{Arp, announcement, probe};
use core::net::{IpAddr, Ipv4Addr};
use entry::{Entry, State, Step};
use unikernel_rt::{
    device::Frame,
    time::{Duration, Instant},
};
use waiting::Waiting;

/// The neighbours of one port.
pub(crate) struct Neighbors {
    mac: Mac,
    entries: BTreeMap<IpAddr, Entry>,
    /// The neighbour of the last packet: most packets go to the one of the packet before.
    hot: Hot,
    /// Routers in use: their entries stay.
    gateways: Vec<IpAddr>,
    waiting: Waiting,
    /// Neighbours that did not answer, for [`Neighbors::take_absent`].
    absent: VecDeque<IpAddr>,
    /// Not before this moment is there anything to do.
    due: Instant,
    times: Times,
}

struct Hot {
    ip: IpAddr,
    mac: Mac,
    until: Instant,
}

const NOBODY: Hot = Hot { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), mac: [0; 6], until: Instant::from_micros(0) };

/// What routers may change (RFC 4861, 6.3.4).
#[derive(Clone, Copy)]
struct Times {
    reachable: Duration,
    pause: Duration,
}

/// What is known about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Known(Mac),
    /// It has been asked; frames may wait for the answer.
    Asked,
    /// It did not answer, or there is no address to ask from, or no room to remember it.
    Absent,
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) enum Via {
    /// Its Ethernet header is complete.
    Ready(Frame),
    /// It will be sent once the neighbour has answered.
    Waiting,
    /// It was dropped.
    Absent,
}

impl Neighbors {
    pub(crate) fn new(mac: Mac) -> Neighbors {
        Neighbors {
            mac,
            entries: BTreeMap::new(),
            hot: NOBODY,
            gateways: Vec::new(),
            waiting: Waiting::default(),
            absent: VecDeque::new(),
            due: Instant::FOREVER,
            times: Times { reachable: REACHABLE_TIME, pause: SOLICIT_PAUSE },
        }
    }

    /// Completes the Ethernet header of `frame`, an IP packet with 14 bytes to fill in front, for the neighbour
    /// `next_hop`, which may be a group or the broadcast address.
    pub(crate) fn send_via(&mut self, next_hop: IpAddr, frame: Frame, own: &Addresses, turn: &mut Turn<'_>) -> Via {
        match self.lookup(next_hop, own, turn) {
            Lookup::Known(mac) => Via::Ready(self.addressed(frame, mac, next_hop)),
            Lookup::Asked => {
                self.waiting.push(next_hop, frame);
                Via::Waiting
            }
            Lookup::Absent => {
                self.waiting.dropped += 1;
                Via::Absent
            }
        }
    }

    /// The Ethernet address for packets to `next_hop`. Asks for it when it is not known.
    #[inline]
    pub(crate) fn lookup(&mut self, next_hop: IpAddr, own: &Addresses, turn: &mut Turn<'_>) -> Lookup {
        match self.hot.ip == next_hop && turn.now < self.hot.until {
            true => Lookup::Known(self.hot.mac),
            false => self.look_closer(next_hop, own, turn),
        }
    }

    /// Frames that were dropped because their neighbour did not answer, or because too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.waiting.dropped
    }

    /// How many neighbours are remembered, absent ones included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether this neighbour was asked for and did not answer.
    pub(crate) fn is_absent(&self, ip: IpAddr) -> bool {
        self.entries.get(&ip).is_some_and(|entry| matches!(entry.state, State::Absent { .. }))
    }

    /// A neighbour that did not answer all questions, since the last call. Connections through it will not come
    /// about.
    pub(crate) fn take_absent(&mut self) -> Option<IpAddr> {
        self.absent.pop_front()
    }

    /// Packets to this neighbour get through: a peer behind it acknowledged something new (RFC 4861, 7.3.1).
    #[inline]
    pub(crate) fn confirm(&mut self, ip: IpAddr, now: Instant) {
        // In the first half of the time there is nothing to gain, and this is called for every acknowledgement.
        if self.hot.ip != ip || now + self.times.reachable / 2 >= self.hot.until {
            self.confirm_slowly(ip, now);
        }
    }

    fn confirm_slowly(&mut self, ip: IpAddr, now: Instant) {
        let until = now + self.times.reachable;
        if let Some(entry) = self.entries.get_mut(&ip)
            && entry.has_mac()
        {
            entry.state = State::Reachable { until };
            self.hot = Hot { ip, mac: entry.mac, until };
        }
    }

    /// Asks again, or gives up, where it is time.
    pub(crate) fn poll(&mut self, own: &Addresses, turn: &mut Turn<'_>) {
        if turn.now < self.due {
            return;
        }
        let due = |(ip, entry): (&IpAddr, &Entry)| (entry.due() <= turn.now).then_some(*ip);
        let due: Vec<IpAddr> = self.entries.iter().filter_map(due).collect();
        for ip in due {
            self.step(ip, own, turn);
        }
        self.due = self.entries.values().map(Entry::due).min().unwrap_or(Instant::FOREVER);
    }

    /// When to call [`poll`](Self::poll) next.
    pub(crate) fn next_moment(&self) -> Instant {
        self.due
    }

    /// The entries of these routers are not given up for others.
    pub(crate) fn set_gateways(&mut self, gateways: Vec<IpAddr>) {
        self.gateways = gateways;
    }

    /// Takes over what a router says, within bounds. Zero: nothing said.
    pub(crate) fn set_times(&mut self, reachable: Duration, pause: Duration) {
        if !reachable.is_zero() {
            self.times.reachable = reachable.clamp(REACHABLE_TIME_RANGE.0, REACHABLE_TIME_RANGE.1);
        }
        if !pause.is_zero() {
            self.times.pause = pause.clamp(SOLICIT_PAUSE_RANGE.0, SOLICIT_PAUSE_RANGE.1);
        }
    }

    /// Forgets the neighbours of one family: our address changed, or the link did.
    pub(crate) fn forget(&mut self, v4: bool) {
        self.entries.retain(|ip, _| ip.is_ipv4() != v4);
        self.waiting.drop_for(|ip| ip.is_ipv4() == v4);
        self.hot = NOBODY;
    }

    /// Forgets one neighbour.
    pub(crate) fn forget_one(&mut self, ip: IpAddr) {
        self.entries.remove(&ip);
        self.waiting.drop_for(|other| other == ip);
        self.cool(ip);
    }

    fn look_closer(&mut self, ip: IpAddr, own: &Addresses, turn: &mut Turn<'_>) -> Lookup {
        if let Some(mac) = group_mac(ip, own) {
            return Lookup::Known(mac);
        }
        let Some(entry) = self.entries.get_mut(&ip) else { return self.begin(ip, own, turn) };
        entry.used = turn.now;
        match entry.state {
            State::Reachable { until } if turn.now < until => self.hot = Hot { ip, mac: entry.mac, until },
            State::Reachable { .. } | State::Stale => {
                entry.state = State::Delay { due: turn.now + DELAY_FIRST_PROBE };
                self.due = self.due.min(entry.due());
            }
            State::Delay { .. } | State::Probe { .. } => {}
            State::Incomplete { .. } => return Lookup::Asked,
            State::Absent { due } if turn.now < due => return Lookup::Absent,
            State::Absent { .. } => return self.begin(ip, own, turn),
        }
        Lookup::Known(entry.mac)
    }

    /// Asks everybody for a neighbour nothing is known about.
    fn begin(&mut self, ip: IpAddr, own: &Addresses, turn: &mut Turn<'_>) -> Lookup {
        if own.source_for(ip).is_none() || !is_neighbor(ip, own) || !self.make_room(ip, turn.now) {
            return Lookup::Absent;
        }
        let due = turn.now + self.times.pause;
        self.entries.insert(ip, Entry::asked(turn.now, due));
        self.due = self.due.min(due);
        self.ask(ip, None, own, turn);
        Lookup::Asked
    }

    /// Makes a router's entry from its advertisement, unless there is one. It is verified when it is used.
    pub(crate) fn introduce(&mut self, ip: IpAddr, mac: Mac, own: &Addresses, turn: &mut Turn<'_>) {
        if self.entries.contains_key(&ip) {
            self.heard(ip, mac, own, turn);
        } else if self.make_room(ip, turn.now) {
            self.entries.insert(ip, Entry::introduced(mac, turn.now));
        }
    }

    /// Whether there is room for one more question; gives up what is worth least.
    fn make_room(&mut self, ip: IpAddr, now: Instant) -> bool {
        let asked = self.entries.values().filter(|entry| entry.is_asked()).count();
        if self.entries.contains_key(&ip) || (self.entries.len() < NEIGHBORS_MAX && asked < NEIGHBORS_ASKED_MAX) {
            return true;
        }
        let only_asked = self.entries.len() < NEIGHBORS_MAX;
        let candidates = self.entries.iter().filter(|(ip, entry)| {
            !self.gateways.contains(ip) && **ip != self.hot.ip && (!only_asked || entry.is_asked())
        });
        let worth = |(ip, entry): (&IpAddr, &Entry)| Some((entry.worth(now)?, entry.used, *ip));
        match candidates.filter_map(worth).min() {
            Some((.., victim)) => self.forget_one(victim),
            None => return false,
        }
        true
    }

    fn step(&mut self, ip: IpAddr, own: &Addresses, turn: &mut Turn<'_>) {
        let Some(entry) = self.entries.get_mut(&ip) else { return };
        match entry.step(turn.now, self.times.pause) {
            Step::Ask(to) => self.ask(ip, to, own, turn),
            Step::GiveUp => self.give_up(ip),
            Step::Forget => self.forget_one(ip),
        }
    }

    fn give_up(&mut self, ip: IpAddr) {
        self.waiting.drop_for(|other| other == ip);
        self.cool(ip);
        self.absent.push_back(ip);
        if self.absent.len() > ABSENT_NEWS_MAX {
            self.absent.pop_front();
        }
    }

    /// Sends one question, to everybody or to one Ethernet address.
    fn ask(&self, ip: IpAddr, to: Option<Mac>, own: &Addresses, turn: &mut Turn<'_>) {
        let frame = match (ip, own.source_for(ip)) {
            (IpAddr::V4(ip), Some(IpAddr::V4(source))) => arp::request(self.mac, source, ip, to),
            (IpAddr::V6(ip), Some(IpAddr::V6(source))) => nd::solicitation(self.mac, source, ip, to, own),
            // The address was lost meanwhile; the entry ends as if nobody had answered.
            _ => return,
        };
        (turn.out)(frame);
    }

    /// An answer to one of our questions: `mac` is where it says to be.
    fn answered(&mut self, ip: IpAddr, mac: Mac, own: &Addresses, turn: &mut Turn<'_>) {
        let until = turn.now + self.times.reachable;
        match self.entries.get_mut(&ip) {
            Some(entry) if entry.awaits(mac) => {
                entry.mac = mac;
                entry.state = State::Reachable { until };
                self.hot = Hot { ip, mac, until };
                for frame in self.waiting.take(ip) {
                    (turn.out)(self.addressed(frame, mac, ip));
                }
            }
            _ => self.heard(ip, mac, own, turn),
        }
    }

    /// A sign of life from a neighbour that was not asked for.
    fn heard(&mut self, ip: IpAddr, mac: Mac, own: &Addresses, turn: &mut Turn<'_>) {
        let Some(entry) = self.entries.get_mut(&ip) else { return };
        if let State::Absent { .. } = entry.state {
            // It is back: the next packet asks anew, at once.
            self.entries.remove(&ip);
        } else if entry.is_contradicted(mac, turn.now) {
            let old = entry.mac;
            entry.suspect(turn.now, self.times.pause);
            self.due = self.due.min(entry.due());
            self.cool(ip);
            self.ask(ip, Some(old), own, turn);
        }
    }

    fn cool(&mut self, ip: IpAddr) {
        if self.hot.ip == ip {
            self.hot = NOBODY;
        }
    }

    #[inline]
    fn addressed(&self, mut frame: Frame, to: Mac, next_hop: IpAddr) -> Frame {
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&self.mac);
        let kind = if next_hop.is_ipv4() { TYPE_IPV4 } else { TYPE_IPV6 };
        frame[12..ETHERNET_LEN].copy_from_slice(&kind);
        frame
    }
}

/// The Ethernet address of a group or of everybody; none for one host.
fn group_mac(ip: IpAddr, own: &Addresses) -> Option<Mac> {
    match ip {
        IpAddr::V4(group) if group.is_multicast() => Some(group_mac4(group)),
        IpAddr::V6(group) if group.is_multicast() => Some(group_mac6(group)),
        _ => own.is_broadcast(ip).then_some(BROADCAST),
    }
}

/// Whether an address can belong to another host.
fn is_neighbor(ip: IpAddr, own: &Addresses) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || own.is_ours(ip))
}
