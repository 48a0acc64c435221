//! Addresses, or only names of servers, from a DHCPv6 server (RFC 8415).
//!
//! Start with [`Dhcp6::set_mode`]: routers say whether there is something to ask for. The first server that offers an
//! address is asked for it; the RFC would have us wait a second for better ones. What one server refuses is asked for
//! again no more than [`DHCP_BURST`] times in [`DHCP_PAUSE`].
//!
//! Missing: prefix delegation, temporary addresses, Release at the end, Reconfigure (it is not offered, so servers do
//! not send it).

mod message;
#[cfg(test)]
mod tests;

use super::{
    Turn,
    allowance::Allowance,
    limits::*,
    packet::{Mac, Path, group_mac6, udp6},
    slaac::{Lifetime, Managed},
};
use alloc::{string::String, vec::Vec};
use core::net::Ipv6Addr;
use message::{Answer, Association, Question, Status, kind};
use unikernel_rt::time::{Duration, Instant};

/// The ports of a client and of a server.
pub(crate) const CLIENT_PORT: u16 = 546;
pub(crate) const SERVER_PORT: u16 = 547;

const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// Who we are to servers (RFC 8415, section 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Duid(Vec<u8>);

impl Duid {
    /// DUID-LL: the machine is its network port.
    pub(crate) fn from_mac(mac: Mac) -> Duid {
        Duid([&[0, 3, 0, 1][..], &mac].concat())
    }

    /// DUID-UUID (RFC 6355).
    pub(crate) fn from_uuid(uuid: [u8; 16]) -> Duid {
        Duid([&[0, 4][..], &uuid].concat())
    }
}

/// What servers say besides addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) dns: Vec<Ipv6Addr>,
    pub(crate) search: Vec<String>,
    pub(crate) ntp: Vec<Ipv6Addr>,
}

/// A leased address and the ends of its preferred and its valid life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leased6 {
    pub(crate) address: Ipv6Addr,
    pub(crate) preferred: Instant,
    pub(crate) valid: Instant,
}

/// The client.
pub(crate) struct Dhcp6 {
    mac: Mac,
    duid: Duid,
    /// Names our one association; servers tell several of one client apart by it.
    id: [u8; 4],
    mode: Managed,
    state: State,
    retry: Retry,
    xid: u32,
    began: Instant,
    held: Option<Held>,
    info: Info,
    /// As servers say: for Solicit and for Information-request.
    longest: [Duration; 2],
    allowance: Allowance,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Soliciting,
    Requesting { server: Vec<u8>, wanted: Vec<Ipv6Addr> },
    Bound,
    Renewing,
    Rebinding,
    Informing,
    Informed,
}

/// When to say it again.
struct Retry {
    pause: Duration,
    tries: u8,
    due: Instant,
}

struct Held {
    server: Vec<u8>,
    addresses: Vec<Leased6>,
    renew: Instant,
    rebind: Instant,
}

impl Held {
    fn list(&self) -> Vec<Ipv6Addr> {
        self.addresses.iter().map(|leased| leased.address).collect()
    }

    fn end(&self) -> Instant {
        self.addresses.iter().map(|leased| leased.valid).max().unwrap_or_default()
    }
}

impl Dhcp6 {
    pub(crate) fn new(mac: Mac, duid: Duid) -> Dhcp6 {
        let [_, _, id @ ..] = mac;
        Dhcp6 {
            mac,
            duid,
            id,
            mode: Managed::default(),
            state: State::Idle,
            retry: Retry { pause: Duration::ZERO, tries: 0, due: Instant::FOREVER },
            xid: 0,
            began: Instant::default(),
            held: None,
            info: Info::default(),
            longest: [SOLICIT_RETRY.1, INFORM_RETRY.1],
            allowance: Allowance::new(),
        }
    }

    /// Begins to ask for what routers say there is.
    pub(crate) fn set_mode(&mut self, mode: Managed, turn: &mut Turn<'_>) {
        if mode != self.mode {
            self.mode = mode;
            let began = self.held.is_some() || matches!(self.state, State::Soliciting | State::Requesting { .. });
            if mode.addresses && !began {
                self.begin(State::Soliciting, turn);
            } else if mode.other && !mode.addresses {
                self.begin(State::Informing, turn);
            }
        }
    }

    /// The addresses held.
    pub(crate) fn addresses(&self) -> &[Leased6] {
        self.held.as_ref().map_or(&[], |held| &held.addresses)
    }

    /// What servers say besides.
    pub(crate) fn info(&self) -> &Info {
        &self.info
    }

    /// When to call [`poll`](Self::poll) next.
    pub(crate) fn next_moment(&self) -> Instant {
        let end = self.held.as_ref().map_or(Instant::FOREVER, Held::end);
        self.allowance.moment(self.retry.due).min(end)
    }

    /// Does what is due, from our link-local address. Says whether addresses went.
    pub(crate) fn poll(&mut self, source: Option<Ipv6Addr>, turn: &mut Turn<'_>) -> bool {
        if turn.now < self.next_moment() {
            return false;
        }
        if self.held.as_ref().is_some_and(|held| held.end() <= turn.now) {
            self.held = None;
            self.info = Info::default();
            self.begin(State::Soliciting, turn);
            return true;
        }
        let Some(source) = source else {
            // The link-local address is being changed.
            self.retry.due = turn.now + SOLICIT_RETRY.0;
            return false;
        };
        self.allowance.take(turn.now);
        self.advance(turn);
        self.speak(source, turn);
        false
    }

    /// Goes on to the state in which the next message is sent.
    fn advance(&mut self, turn: &mut Turn<'_>) {
        let rebind = self.held.as_ref().map_or(Instant::FOREVER, |held| held.rebind);
        match self.state {
            State::Bound if turn.now < rebind => self.begin(State::Renewing, turn),
            State::Bound | State::Renewing if turn.now >= rebind => self.begin(State::Rebinding, turn),
            State::Requesting { .. } if self.retry.tries >= DHCP6_REQUESTS => self.begin(State::Soliciting, turn),
            State::Informed => self.begin(State::Informing, turn),
            _ => {}
        }
    }

    /// A new exchange, with a number nobody can guess.
    fn begin(&mut self, state: State, turn: &mut Turn<'_>) {
        self.state = state;
        self.xid = (turn.random)() as u32 & 0x00ff_ffff;
        self.began = turn.now;
        self.retry = Retry { pause: Duration::ZERO, tries: 0, due: turn.now };
    }

    /// Sends the message of this state.
    fn speak(&mut self, source: Ipv6Addr, turn: &mut Turn<'_>) {
        let held = self.held.as_ref();
        let list = held.map(Held::list).unwrap_or_default();
        let (kind, server, addresses, range) = match &self.state {
            State::Soliciting => (kind::SOLICIT, None, Some(&[][..]), (SOLICIT_RETRY.0, self.longest[0])),
            State::Requesting { server, wanted } => {
                (kind::REQUEST, Some(&server[..]), Some(&wanted[..]), REQUEST_RETRY)
            }
            State::Renewing => (kind::RENEW, held.map(|held| &held.server[..]), Some(&list[..]), RENEW_RETRY),
            State::Rebinding => (kind::REBIND, None, Some(&list[..]), RENEW_RETRY),
            State::Informing => (kind::INFORMATION_REQUEST, None, None, (INFORM_RETRY.0, self.longest[1])),
            State::Idle | State::Bound | State::Informed => return,
        };
        let elapsed = u16::try_from((turn.now - self.began).as_millis() / 10).unwrap_or(u16::MAX);
        let association = addresses.map(|addresses| (self.id, addresses));
        let question = Question { kind, xid: self.xid, client: &self.duid.0, server, elapsed, association };
        self.send(&question, source, turn);
        self.again(range, turn);
    }

    fn send(&self, question: &Question<'_>, source: Ipv6Addr, turn: &mut Turn<'_>) {
        let path = Path { macs: (self.mac, group_mac6(ALL_SERVERS)), source, destination: ALL_SERVERS };
        (turn.out)(udp6(path, (CLIENT_PORT, SERVER_PORT), &question.bytes()));
    }

    /// RFC 8415, section 15: each pause twice the last, up to the longest. While renewing, not beyond the moment to
    /// rebind.
    fn again(&mut self, (first, longest): (Duration, Duration), turn: &mut Turn<'_>) {
        let next = if self.retry.pause.is_zero() { first } else { self.retry.pause * 2 };
        self.retry.pause = next.min(longest);
        self.retry.tries = self.retry.tries.saturating_add(1);
        self.retry.due = turn.now + turn.jitter(self.retry.pause);
        if let (State::Renewing, Some(held)) = (&self.state, &self.held) {
            self.retry.due = self.retry.due.min(held.rebind);
        }
    }

    /// Takes a UDP payload that came to port 546 from port 547. Says whether addresses or [`Info`] change.
    pub(crate) fn on_message(&mut self, bytes: &[u8], turn: &mut Turn<'_>) -> bool {
        let Some(answer) = Answer::parse(bytes, self.xid, &self.duid.0) else { return false };
        match (&self.state, answer.kind) {
            (State::Soliciting, kind::ADVERTISE) => self.on_advertise(&answer, turn),
            (State::Soliciting, kind::REPLY) if answer.is_rapid() => return self.on_reply(&answer, turn),
            (State::Requesting { server, .. }, kind::REPLY) if *server == answer.server => {
                return self.on_reply(&answer, turn);
            }
            (State::Renewing, kind::REPLY) if self.held.as_ref().is_some_and(|held| held.server == answer.server) => {
                return self.on_reply(&answer, turn);
            }
            (State::Rebinding, kind::REPLY) => return self.on_reply(&answer, turn),
            (State::Informing, kind::REPLY) if answer.status() == Status::Success => {
                return self.on_information(&answer, turn);
            }
            _ => {}
        }
        false
    }

    fn on_advertise(&mut self, answer: &Answer<'_>, turn: &mut Turn<'_>) {
        self.heed_max_rt(answer, true);
        let usable = |association: &Association| association.status == Status::Success;
        let Some(association) = answer.association(self.id).filter(usable) else { return };
        let wanted: Vec<Ipv6Addr> = association.addresses.iter().map(|(address, ..)| *address).collect();
        if answer.status() == Status::Success && !wanted.is_empty() {
            self.begin(State::Requesting { server: answer.server.to_vec(), wanted }, turn);
        }
    }

    fn on_reply(&mut self, answer: &Answer<'_>, turn: &mut Turn<'_>) -> bool {
        self.heed_max_rt(answer, true);
        let Some(association) = answer.association(self.id) else { return false };
        let status = if answer.status() == Status::Success { association.status } else { answer.status() };
        match status {
            // Without addresses it says nothing, and is asked again.
            Status::Success if !association.addresses.is_empty() => self.bind(answer, &association, turn),
            // RFC 8415, 18.2.10.1: the server has forgotten us, and may give the addresses again.
            Status::NoBinding if self.held.is_some() => {
                let wanted = self.held.as_ref().map(Held::list).unwrap_or_default();
                self.begin(State::Requesting { server: answer.server.to_vec(), wanted }, turn);
                false
            }
            Status::Refused | Status::NoBinding if matches!(self.state, State::Requesting { .. }) => {
                self.begin(State::Soliciting, turn);
                false
            }
            // While renewing, somebody else may still be willing.
            _ => false,
        }
    }

    /// Takes the addresses over. Those that the server does not mention live on.
    fn bind(&mut self, answer: &Answer<'_>, association: &Association, turn: &mut Turn<'_>) -> bool {
        let from = self.began;
        let mut addresses = self.held.take().map(|held| held.addresses).unwrap_or_default();
        for &(address, preferred, valid) in &association.addresses {
            addresses.retain(|leased| leased.address != address);
            if Duration::from_secs(valid.0.into()) >= LEASE_MIN && addresses.len() < LEASED6_MAX {
                addresses.push(Leased6 { address, preferred: preferred.end(from), valid: valid.end(from) });
            }
        }
        if addresses.is_empty() {
            self.begin(State::Soliciting, turn);
            return true;
        }
        let (renew, rebind) = times(association, from);
        self.held = Some(Held { server: answer.server.to_vec(), addresses, renew, rebind });
        self.info = answer.info();
        self.state = State::Bound;
        self.retry.due = renew;
        true
    }

    fn on_information(&mut self, answer: &Answer<'_>, turn: &mut Turn<'_>) -> bool {
        self.heed_max_rt(answer, false);
        let wanted = answer.refresh().map(|refresh| Duration::from_secs(refresh.0.into()));
        self.state = State::Informed;
        self.retry.due = turn.now + turn.jitter(wanted.unwrap_or(REFRESH_TIME).max(REFRESH_TIME_MIN));
        let info = answer.info();
        core::mem::replace(&mut self.info, info) != self.info
    }

    fn heed_max_rt(&mut self, answer: &Answer<'_>, stateful: bool) {
        let sane = |seconds: &u32| (MAX_RT_RANGE.0..=MAX_RT_RANGE.1).contains(seconds);
        if let Some(seconds) = answer.max_rt(stateful).filter(sane) {
            self.longest[usize::from(!stateful)] = Duration::from_secs(seconds.into());
        }
    }

    /// Another host has an address that we were given: the server is told (RFC 8415, 18.2.8), and others are asked
    /// for after a pause.
    pub(crate) fn decline(&mut self, address: Ipv6Addr, source: Option<Ipv6Addr>, turn: &mut Turn<'_>) {
        let Some(held) = self.held.take_if(|held| held.list().contains(&address)) else { return };
        self.begin(State::Soliciting, turn);
        if let Some(source) = source {
            let (xid, client, server) =
                ((turn.random)() as u32 & 0x00ff_ffff, &self.duid.0[..], Some(&held.server[..]));
            let association = Some((self.id, &[address][..]));
            let question = Question { kind: kind::DECLINE, xid, client, server, elapsed: 0, association };
            self.send(&question, source, turn);
        }
        self.retry.due = turn.now + DHCP_PAUSE;
    }
}

/// When to renew and rebind: as the server says, or after half and four fifths of the shortest preferred life
/// (RFC 8415, 21.4), but not every few seconds.
fn times(association: &Association, from: Instant) -> (Instant, Instant) {
    let shortest = association.addresses.iter().map(|(_, preferred, _)| *preferred).filter(|life| life.0 > 0).min();
    let shortest = shortest.unwrap_or(Lifetime(LEASE_MIN.as_secs() as u32));
    let or = |said: Lifetime, part: u32| match (said.0, shortest.0) {
        (0, u32::MAX) => Lifetime(u32::MAX),
        (0, shortest) => Lifetime(shortest / 10 * part),
        _ => said,
    };
    let rebind = or(association.rebind, 8);
    let renew = or(association.renew, 5).min(rebind);
    let least = from + LEASE_MIN / 2;
    (renew.end(from).max(least), rebind.end(from).max(least))
}
