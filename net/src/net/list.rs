//! The sockets, a page at a time: however many there are, one page is a bounded amount of work.
//!
//! A page begins at a place: the number of a list in the upper half, a place in that list in the lower. So what comes and
//! goes between two pages moves nothing else.

use super::Net;
use crate::{
    capture::Tap,
    flow::{Flow, Stage},
    flow_map::{FlowKey, Slot},
    limits::LIST_LOOKS_MAX,
    sockets::{SocketInfo, SocketOwner, SocketPage, SocketState},
    tcp::State,
};
use alloc::vec::Vec;
use core::net::SocketAddr;

/// The lists, by the upper half of a place.
const LISTENERS: u32 = 0;
const DATAGRAMS: u32 = 1;
/// Before the connections that they become, and those before what is left of them: what goes on between two pages is seen.
const HANDSHAKES: u32 = 2;
const FLOWS: u32 = 3;
const TIME_WAIT: u32 = 4;
const END: u32 = 5;

/// What is at a place.
enum Look {
    /// A socket, and the place after it.
    Found(SocketInfo, u32),
    /// Nothing; the place after it.
    Empty(u32),
    /// The list has ended.
    End,
}

impl Net {
    /// Up to `max` sockets from this place on; fewer when many places are empty.
    pub(crate) fn sockets(&self, from: u64, max: usize) -> SocketPage {
        let (mut list, mut place) = ((from >> 32) as u32, from as u32);
        let mut sockets = Vec::new();
        for _ in 0..LIST_LOOKS_MAX {
            if list >= END {
                return SocketPage { sockets, next: None };
            }
            if sockets.len() >= max {
                break;
            }
            match self.look(list, place) {
                Look::Found(socket, next) => {
                    sockets.push(socket);
                    place = next;
                }
                Look::Empty(next) => place = next,
                Look::End => (list, place) = (list + 1, 0),
            }
        }
        SocketPage { sockets, next: Some(u64::from(list) << 32 | u64::from(place)) }
    }

    fn look(&self, list: u32, place: u32) -> Look {
        let index = place as usize;
        let (found, len) = match list {
            LISTENERS => return self.listener_from(place),
            TIME_WAIT => return self.over_from(place),
            DATAGRAMS => (self.sockets.get(index).map(|socket| socket.info()), self.sockets.capacity()),
            HANDSHAKES => (self.half_open.get(place).map(SocketInfo::from), self.half_open.places()),
            FLOWS => (self.flows.get(index).map(info_of), self.flows.capacity()),
            _ => return Look::End,
        };
        match found {
            Some(socket) => Look::Found(socket, place + 1),
            None if index < len => Look::Empty(place + 1),
            None => Look::End,
        }
    }

    /// The first listener from a port on.
    fn listener_from(&self, port: u32) -> Look {
        let Ok(port) = u16::try_from(port) else { return Look::End };
        let Some((&port, backlog)) = self.listeners.range(port..).next() else { return Look::End };
        let (receive_queue, send_queue) = (backlog.ready.len(), self.backlog_max);
        let socket = SocketInfo { receive_queue, send_queue, ..SocketInfo::on_port(SocketState::Listen, port) };
        Look::Found(socket, u32::from(port) + 1)
    }

    /// What is remembered, by the distance from the first record there ever was: the front of the list goes away.
    fn over_from(&self, number: u32) -> Look {
        match self.time_wait.from(number) {
            None => Look::End,
            Some((None, next)) => Look::Empty(next),
            Some((Some(record), next)) => Look::Found(record.into(), next),
        }
    }

    /// Whether a connection of these ends is open in both directions.
    pub(crate) fn is_connected(&self, port: u16, peer: SocketAddr) -> bool {
        let mut addresses = self.interfaces.iter().flat_map(|interface| interface.all_addresses());
        addresses.any(|address| match self.map.get(&FlowKey::new(SocketAddr::new(address, port), peer)) {
            Some(Slot::Flow(id)) => self.flows[id as usize].tcb.state() == State::Established,
            _ => false,
        })
    }

    /// Shows every frame to `tap` from now on.
    pub(crate) fn add_tap(&mut self, tap: &Tap) {
        for (index, interface) in self.interfaces.iter_mut().enumerate() {
            interface.link.taps.add(index, tap);
        }
    }

    /// No more.
    pub(crate) fn remove_tap(&mut self, tap: &Tap) {
        for interface in &mut self.interfaces {
            interface.link.taps.remove(tap);
        }
    }
}

fn info_of(flow: &Flow) -> SocketInfo {
    let info = flow.tcb.info();
    SocketInfo {
        owner: match flow.stage {
            Stage::Connecting | Stage::Owned => SocketOwner::App,
            Stage::Queued => SocketOwner::Backlog,
            Stage::Orphan => SocketOwner::Nobody,
        },
        receive_queue: flow.tcb.unread_len(),
        send_queue: flow.tcb.unacknowledged_len(),
        retransmits: info.retransmits,
        round_trip: info.srtt,
        congestion_window: info.cwnd,
        ..SocketInfo::new(flow.tcb.state().into(), flow.key.local(), Some(flow.key.peer()))
    }
}
