//! The application's calls for connections.

use super::{Backlog, Net};
use crate::{
    error::{ConnectError, Error, ListenError},
    flow::{Flow, Path, Stage},
    flow_map::{FlowKey, Slot},
    header::Template,
    limits::{CONNECT_TIME_MAX, EPHEMERAL_PORTS, PORT_TRIES_MAX},
    tcp::{Gone, ReadResult, State, Tcb, WriteResult},
};
use core::{
    net::{IpAddr, SocketAddr},
    task::{Poll, Waker},
};
use unikernel_rt::{
    task::wait_for,
    time::{Duration, Instant},
};

impl Net {
    pub(crate) fn listen(&mut self, port: u16) -> Result<(), ListenError> {
        if self.listeners.contains_key(&port) {
            return Err(ListenError::PortInUse(port));
        }
        self.listeners.insert(port, Backlog::default());
        Ok(())
    }

    /// Ends a listener; what waits for it is reset.
    pub(crate) fn unlisten(&mut self, port: u16) {
        let Some(backlog) = self.listeners.remove(&port) else { return };
        for id in backlog.ready {
            self.refuse(id);
        }
    }

    /// Lets no further connection begin.
    pub(crate) fn close_listener(&mut self, port: u16) {
        self.listeners.get_mut(&port).expect("the listener exists").is_closed = true;
    }

    fn refuse(&mut self, id: u32) {
        self.flows[id as usize].stage = Stage::Orphan;
        self.reset(id);
    }

    pub(crate) fn poll_accept(&mut self, port: u16, waker: &Waker) -> Poll<u32> {
        loop {
            let backlog = self.listeners.get_mut(&port).expect("the listener exists");
            let Some(id) = backlog.ready.pop_front() else {
                match &mut backlog.waker {
                    Some(known) => known.clone_from(waker),
                    none => *none = Some(waker.clone()),
                }
                wait_for("a connection");
                return Poll::Pending;
            };
            let flow = &mut self.flows[id as usize];
            if flow.tcb.state() == State::Closed {
                self.refuse(id);
                continue;
            }
            flow.stage = Stage::Owned;
            flow.owners = 1;
            self.counters.accepted += 1;
            return Poll::Ready(id);
        }
    }

    /// Begins a connection. `random` chooses its port.
    pub(crate) fn connect(
        &mut self,
        peer: SocketAddr,
        mut random: impl FnMut() -> u64,
        now: Instant,
    ) -> Result<u32, ConnectError> {
        if !self.is_configured() {
            return Err(ConnectError::NotConfigured);
        }
        let route = self.route(peer.ip()).ok_or(ConnectError::Unreachable)?;
        let interface = &self.interfaces[route.interface];
        if !is_peer(peer) || interface.is_broadcast(peer.ip()) || self.is_ours(peer.ip()) {
            return Err(ConnectError::Unreachable);
        }
        if self.flows.len() >= self.limits.connections {
            return Err(ConnectError::TooManyConnections);
        }
        let ports = u64::from(EPHEMERAL_PORTS.end() - EPHEMERAL_PORTS.start()) + 1;
        let key = (0..PORT_TRIES_MAX)
            .map(|_| EPHEMERAL_PORTS.start() + (random() % ports) as u16)
            .map(|port| FlowKey::new(SocketAddr::new(route.source, port), peer))
            .find(|key| self.map.get(key).is_none())
            .ok_or(ConnectError::TooManyConnections)?;
        let tcb = Tcb::connect(&interface.settings(key.is_v4()), self.numbers.initial(&key, now), now);
        let header = Template::new(&key, interface.link.mac(), [0; 6]);
        let path = Path::Resolve(route.next_hop);
        let mut flow = Flow::new(tcb, key, header, route.interface as u8, path, Stage::Connecting);
        flow.limit_at = now + CONNECT_TIME_MAX;
        flow.owners = 1;
        let id = self.flows.insert(flow) as u32;
        self.map.insert(key, Slot::Flow(id));
        self.sources.add(key.peer);
        self.counters.connects += 1;
        self.mark_dirty(id);
        Ok(id)
    }

    pub(super) fn is_ours(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| interface.is_ours(address))
    }

    pub(crate) fn poll_connect(&mut self, id: u32, waker: &Waker) -> Poll<Result<(), ConnectError>> {
        let flow = &mut self.flows[id as usize];
        match flow.tcb.state() {
            State::SynSent | State::SynReceived => {
                flow.writer.wait(waker);
                wait_for("an answer to connect");
                Poll::Pending
            }
            State::Closed => Poll::Ready(Err(match flow.end {
                Some(Error::Reset) => ConnectError::Refused,
                Some(Error::AddressLost) => ConnectError::NotConfigured,
                Some(Error::Unreachable) => ConnectError::Unreachable,
                _ => ConnectError::TimedOut,
            })),
            _ => {
                flow.stage = Stage::Owned;
                flow.limit_at = Instant::FOREVER;
                Poll::Ready(Ok(()))
            }
        }
    }

    #[inline]
    pub(crate) fn poll_read(&mut self, id: u32, buffer: &mut [u8], waker: &Waker) -> Poll<Result<usize, Error>> {
        let flow = &mut self.flows[id as usize];
        match flow.tcb.read(buffer) {
            ReadResult::Data(len) => {
                // A window that has grown may be worth telling.
                if flow.tcb.has_output() {
                    self.mark_dirty(id);
                }
                Poll::Ready(Ok(len))
            }
            ReadResult::NotYet => {
                flow.reader.wait(waker);
                wait_for("data from the network");
                Poll::Pending
            }
            ReadResult::Finished => Poll::Ready(Ok(0)),
            ReadResult::Gone(gone) => Poll::Ready(Err(flow.end.unwrap_or(gone.into()))),
        }
    }

    #[inline]
    pub(crate) fn poll_write(&mut self, id: u32, data: &[u8], waker: &Waker) -> Poll<Result<usize, Error>> {
        let flow = &mut self.flows[id as usize];
        match flow.tcb.write(data, &mut self.budget) {
            WriteResult::Taken(0) => {
                flow.writer.wait(waker);
                wait_for("room to send");
                Poll::Pending
            }
            WriteResult::Taken(len) => {
                self.mark_dirty(id);
                Poll::Ready(Ok(len))
            }
            WriteResult::Closed => Poll::Ready(Err(flow.end.unwrap_or(Error::Closed))),
            WriteResult::Gone(gone) => Poll::Ready(Err(flow.end.unwrap_or(gone.into()))),
        }
    }

    /// Why the connection ended, if it did.
    pub(crate) fn end(&self, id: u32) -> Option<Error> {
        self.flows[id as usize].end
    }

    pub(crate) fn key(&self, id: u32) -> FlowKey {
        self.flows[id as usize].key
    }

    pub(crate) fn add_owner(&mut self, id: u32) {
        self.flows[id as usize].owners += 1;
    }

    pub(crate) fn shutdown(&mut self, id: u32) {
        self.flows[id as usize].tcb.close();
        self.mark_dirty(id);
    }

    pub(crate) fn abort(&mut self, id: u32) {
        self.flows[id as usize].end.get_or_insert(Error::Closed);
        self.reset(id);
    }

    pub(crate) fn set_nodelay(&mut self, id: u32, nodelay: bool) {
        self.flows[id as usize].tcb.set_nodelay(nodelay);
        self.mark_dirty(id);
    }

    pub(crate) fn set_keep_alive(&mut self, id: u32, interval: Option<Duration>, now: Instant) {
        self.flows[id as usize].tcb.set_keep_alive(interval, now);
        self.mark_dirty(id);
    }

    pub(crate) fn set_user_timeout(&mut self, id: u32, timeout: Option<Duration>) {
        self.flows[id as usize].tcb.set_user_timeout(timeout);
        self.mark_dirty(id);
    }
}

/// Whether a connection can be made to that address at all.
fn is_peer(peer: SocketAddr) -> bool {
    let ip = peer.ip();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || is_broadcast || peer.port() == 0)
}

impl From<Gone> for Error {
    fn from(gone: Gone) -> Error {
        match gone {
            Gone::Reset => Error::Reset,
            Gone::TimedOut => Error::TimedOut,
            Gone::Aborted | Gone::Finished => Error::Closed,
        }
    }
}
