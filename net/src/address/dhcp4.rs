//! An address from a DHCP server (RFC 2131).
//!
//! Start with [`Dhcp4::poll`]. A lease is discovered, requested, renewed with its server, then with any, and ends. The
//! numbers of messages are bounded whatever servers answer: a server that refuses everything is asked
//! [`DHCP_BURST`] times in [`DHCP_PAUSE`].
//!
//! A server's word is taken when it carries this exchange's random number, our Ethernet address and a server's
//! address; what no host could live on is ignored. The states INIT-REBOOT and REBOOTING are missing: nothing is
//! remembered from before the boot.

mod message;
#[cfg(test)]
mod tests;

use super::{
    Route, Turn,
    allowance::Allowance,
    limits::*,
    packet::{BROADCAST, Mac, Path, udp4},
};
use crate::config::Ipv4Cidr;
use alloc::{string::String, vec::Vec};
use core::net::Ipv4Addr;
use message::{Answer, Kind, Question};
use unikernel_rt::{
    device::Frame,
    time::{Duration, Instant},
};

/// The ports of a DHCP client and of a server.
pub(crate) const CLIENT_PORT: u16 = 68;
pub(crate) const SERVER_PORT: u16 = 67;

/// What a server gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease4 {
    pub(crate) address: Ipv4Cidr,
    pub(crate) server: Ipv4Addr,
    /// The network of the address among them. Every router is on the link.
    pub(crate) routes: Vec<Route>,
    pub(crate) dns: Vec<Ipv4Addr>,
    pub(crate) ntp: Vec<Ipv4Addr>,
    pub(crate) search: Vec<String>,
    pub(crate) mtu: Option<u16>,
    /// None: for ever.
    duration: Option<Duration>,
    renew: Option<Duration>,
    rebind: Option<Duration>,
}

impl Lease4 {
    /// The host's own domain comes first.
    fn add_domain(&mut self, domain: Option<String>) {
        if let Some(domain) = domain.filter(|domain| !self.search.contains(domain)) {
            self.search.insert(0, domain);
            self.search.truncate(SEARCH_MAX);
        }
    }
}

/// What the caller has to do.
#[derive(Debug)]
pub(crate) enum Event {
    /// There is a lease, or it says something new.
    Bound,
    /// The lease ended.
    Lost(Loss),
    /// Send this IP packet, with room for the Ethernet header in front, to a host.
    Unicast(Ipv4Addr, Frame),
}

/// Why a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its server, or another, took it back.
    Refused,
    /// Nobody renewed it.
    Expired,
    /// Another host has the address.
    Conflict,
}

/// The client.
pub(crate) struct Dhcp4 {
    mac: Mac,
    hostname: Option<String>,
    state: State,
    /// Of this exchange.
    xid: u32,
    /// When this exchange began.
    began: Instant,
    held: Option<Held>,
    allowance: Allowance,
}

/// Says when to go on in each state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Init { due: Instant },
    Selecting { tries: u8, due: Instant },
    Requesting { address: Ipv4Addr, server: Ipv4Addr, tries: u8, due: Instant },
    Bound,
    Renewing { due: Instant },
    Rebinding { due: Instant },
}

struct Held {
    lease: Lease4,
    renew: Instant,
    rebind: Instant,
    end: Instant,
}

impl Held {
    /// Times count from the request on (RFC 2131, 4.4.5).
    fn new(lease: Lease4, from: Instant) -> Held {
        let after = |time: Option<Duration>| time.map_or(Instant::FOREVER, |time| from + time);
        let total = lease.duration;
        let rebind = lease
            .rebind
            .or(total.map(|total| total / 8 * 7))
            .filter(|rebind| total.is_none_or(|total| *rebind < total));
        let rebind = rebind.or(total.map(|total| total / 8 * 7));
        let renew = lease.renew.filter(|renew| rebind.is_none_or(|rebind| *renew < rebind));
        // A server that wants to hear of us every second does not.
        let renew = renew.filter(|renew| *renew >= LEASE_MIN / 2).or(total.map(|total| total / 2));
        Held { renew: after(renew.min(rebind)), rebind: after(rebind), end: after(total), lease }
    }
}

impl Dhcp4 {
    /// `hostname` is told to servers; longer than [`HOSTNAME_LEN_MAX`], it is not.
    pub(crate) fn new(mac: Mac, hostname: Option<String>) -> Dhcp4 {
        let start = Instant::default();
        Dhcp4 {
            mac,
            hostname: hostname.filter(|name| !name.is_empty() && name.len() <= HOSTNAME_LEN_MAX),
            state: State::Init { due: start },
            xid: 0,
            began: start,
            held: None,
            allowance: Allowance::new(),
        }
    }

    /// The lease, while there is one.
    pub(crate) fn lease(&self) -> Option<&Lease4> {
        self.held.as_ref().map(|held| &held.lease)
    }

    /// Does what is due. Call it until it returns nothing.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_>) -> Option<Event> {
        if turn.now < self.next_moment() {
            return None;
        }
        if self.held.as_ref().is_some_and(|held| held.end <= turn.now) {
            return self.lose(Loss::Expired, turn.now);
        }
        self.allowance.take(turn.now);
        self.advance(turn)
    }

    /// When to call [`poll`](Self::poll) next.
    pub(crate) fn next_moment(&self) -> Instant {
        let (renew, rebind, end) = match &self.held {
            Some(held) => (held.renew, held.rebind, held.end),
            None => (Instant::FOREVER, Instant::FOREVER, Instant::FOREVER),
        };
        let due = match self.state {
            State::Init { due } | State::Selecting { due, .. } | State::Requesting { due, .. } => due,
            State::Bound => renew,
            State::Renewing { due } => due.min(rebind),
            State::Rebinding { due } => due,
        };
        // The end of a lease needs no message.
        self.allowance.moment(due).min(end)
    }

    /// Takes a UDP payload that came to port 68 from port 67.
    pub(crate) fn on_message(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> Option<Event> {
        let answer = Answer::parse(bytes, self.mac, self.xid)?;
        match (self.state, answer.kind) {
            (State::Selecting { .. }, Kind::Offer) => {
                let address = answer.lease()?.address.address();
                self.state = State::Requesting { address, server: answer.server, tries: 0, due: turn.now };
                self.poll(turn)
            }
            (State::Requesting { address, server, .. }, Kind::Ack) if answer.server == server => {
                let lease = answer.lease().filter(|lease| lease.address.address() == address)?;
                self.bind(lease)
            }
            (State::Renewing { .. } | State::Rebinding { .. }, Kind::Ack) => self.bind(answer.lease()?),
            (State::Requesting { server, .. }, Kind::Nak) if answer.server == server => {
                self.lose(Loss::Refused, turn.now)
            }
            (State::Renewing { .. } | State::Rebinding { .. }, Kind::Nak) => self.lose(Loss::Refused, turn.now),
            _ => None,
        }
    }

    /// Another host has the address that we were given: the server is told (RFC 2131, 3.1.5).
    pub(crate) fn decline(&mut self, turn: &mut Turn<'_>) -> Option<Event> {
        let held = self.held.take()?;
        self.xid = (turn.random)() as u32;
        let (requested, server) = (Some(held.lease.address.address()), Some(held.lease.server));
        let question = Question { requested, server, ..self.question(Kind::Decline, turn.now) };
        (turn.out)(self.broadcast(&question));
        self.state = State::Init { due: turn.now + DHCP_PAUSE };
        Some(Event::Lost(Loss::Conflict))
    }

    fn lose(&mut self, why: Loss, now: Instant) -> Option<Event> {
        self.state = State::Init { due: now };
        self.held.take().map(|_| Event::Lost(why))
    }

    fn bind(&mut self, lease: Lease4) -> Option<Event> {
        let news = self.lease() != Some(&lease);
        self.held = Some(Held::new(lease, self.began));
        self.state = State::Bound;
        news.then_some(Event::Bound)
    }

    /// One message, and the next moment.
    fn advance(&mut self, turn: &mut Turn<'_>) -> Option<Event> {
        match self.state {
            State::Init { .. } => self.begin(turn),
            State::Selecting { tries, .. } => self.discover(tries, turn),
            State::Requesting { tries: DHCP_REQUESTS.., .. } => self.begin(turn),
            State::Requesting { address, server, tries, .. } => self.request(address, server, tries, turn),
            State::Bound | State::Renewing { .. } | State::Rebinding { .. } => self.extend(turn),
        }
    }

    /// Begins anew: nothing is known of a server.
    fn begin(&mut self, turn: &mut Turn<'_>) -> Option<Event> {
        self.xid = (turn.random)() as u32;
        self.began = turn.now;
        self.discover(0, turn)
    }

    fn discover(&mut self, tries: u8, turn: &mut Turn<'_>) -> Option<Event> {
        self.state = State::Selecting { tries: tries.saturating_add(1), due: turn.now + backoff(tries, turn) };
        (turn.out)(self.broadcast(&self.question(Kind::Discover, turn.now)));
        None
    }

    fn request(&mut self, address: Ipv4Addr, server: Ipv4Addr, tries: u8, turn: &mut Turn<'_>) -> Option<Event> {
        let due = turn.now + backoff(tries, turn);
        self.state = State::Requesting { address, server, tries: tries + 1, due };
        if tries == 0 {
            // The lease counts from here.
            self.began = turn.now;
        }
        let question = self.question(Kind::Request, turn.now);
        (turn.out)(self.broadcast(&Question { requested: Some(address), server: Some(server), ..question }));
        None
    }

    /// Asks for more time: the server that gave the lease, later any.
    fn extend(&mut self, turn: &mut Turn<'_>) -> Option<Event> {
        let held = self.held.as_ref()?;
        let (own, server, rebind, end) = (held.lease.address.address(), held.lease.server, held.rebind, held.end);
        let alone = turn.now < rebind;
        let due = turn.now + renew_pause(turn.now, if alone { rebind } else { end });
        // An answer to an earlier request would count its time from this one.
        self.xid = (turn.random)() as u32;
        self.began = turn.now;
        self.state = if alone { State::Renewing { due } } else { State::Rebinding { due } };
        let question = Question { client: own, ..self.question(Kind::Request, turn.now) };
        match alone {
            true => return Some(Event::Unicast(server, self.packet(&question, [0; 6], server))),
            false => (turn.out)(self.broadcast(&question)),
        }
        None
    }

    fn question(&self, kind: Kind, now: Instant) -> Question<'_> {
        let secs = u16::try_from((now - self.began).as_secs()).unwrap_or(u16::MAX);
        let (mac, xid, hostname) = (self.mac, self.xid, self.hostname.as_deref());
        let client = Ipv4Addr::UNSPECIFIED;
        Question { kind, mac, xid, secs, client, requested: None, server: None, hostname }
    }

    fn broadcast(&self, question: &Question<'_>) -> Frame {
        self.packet(question, BROADCAST, Ipv4Addr::BROADCAST)
    }

    fn packet(&self, question: &Question<'_>, mac: Mac, destination: Ipv4Addr) -> Frame {
        let path = Path { macs: (self.mac, mac), source: question.client, destination };
        udp4(path, (CLIENT_PORT, SERVER_PORT), &question.bytes())
    }
}

/// RFC 2131, 4.1: doubled each time, and never the same for two machines.
fn backoff(tries: u8, turn: &mut Turn<'_>) -> Duration {
    let time = DHCP_RETRY_FIRST * 2u32.pow(tries.min(8).into());
    turn.jitter(time.min(DHCP_RETRY_MAX))
}

/// RFC 2131, 4.4.5: half of what is left, but not less than a minute; where that is more than is left, all of it.
fn renew_pause(now: Instant, until: Instant) -> Duration {
    let left = until - now;
    (left / 2).max(RENEW_PAUSE_MIN.min(left)).max(DHCP_RETRY_FIRST)
}
