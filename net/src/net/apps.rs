//! The application's calls.

use super::{Backlog, Net};
use crate::{
    engine::{NoData, Path, State},
    error::{ConnectError, Error, ListenError},
    flow::{Flow, Stage},
    flow_map::{FlowKey, Slot},
    limits::{CONNECT_TIME_MAX, EPHEMERAL_PORTS, PORT_TRIES_MAX},
};
use core::{
    net::SocketAddrV4,
    task::{Poll, Waker},
};
use unikernel_rt::time::{Duration, Instant};

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
        peer: SocketAddrV4,
        mut random: impl FnMut() -> u64,
        now: Instant,
    ) -> Result<u32, ConnectError> {
        let own = self.address.ok_or(ConnectError::NotConfigured)?;
        let ip = *peer.ip();
        let is_host = !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || Some(ip) == own.broadcast());
        let has_way = own.contains(ip) || self.gateway.is_some();
        if !is_host || !has_way || ip == own.address() || ip.is_loopback() || peer.port() == 0 {
            return Err(ConnectError::Unreachable);
        }
        if self.flows.len() >= self.limits.connections {
            return Err(ConnectError::TooManyConnections);
        }
        let ports = u64::from(EPHEMERAL_PORTS.end() - EPHEMERAL_PORTS.start()) + 1;
        let key = (0..PORT_TRIES_MAX)
            .map(|_| EPHEMERAL_PORTS.start() + (random() % ports) as u16)
            .map(|port| FlowKey::new(SocketAddrV4::new(own.address(), port), peer))
            .find(|key| self.map.get(key).is_none())
            .ok_or(ConnectError::TooManyConnections)?;
        let (mut tcb, size) = self.take_tcb();
        if !tcb.connect(&mut self.engine, &key) {
            self.give_back(tcb, size);
            return Err(ConnectError::Unreachable);
        }
        let mut flow = Flow::new(tcb, size, key, Path::Resolve, Stage::Connecting, now + CONNECT_TIME_MAX);
        flow.wrote = true;
        flow.owners = 1;
        let id = self.flows.insert(flow) as u32;
        self.map.insert(key, Slot::Flow(id));
        self.counters.connects += 1;
        self.mark_dirty(id);
        Ok(id)
    }

    pub(crate) fn poll_connect(&mut self, id: u32, waker: &Waker) -> Poll<Result<(), ConnectError>> {
        let flow = &mut self.flows[id as usize];
        match flow.tcb.state() {
            State::SynSent | State::SynReceived => {
                flow.tcb.wake_on_change(waker);
                Poll::Pending
            }
            State::Closed => Poll::Ready(Err(match flow.end {
                Some(Error::Reset) => ConnectError::Refused,
                Some(Error::AddressLost) => ConnectError::NotConfigured,
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
        match flow.tcb.read(buffer, waker) {
            Ok(taken) => {
                if taken.opens_window {
                    self.mark_dirty(id);
                }
                Poll::Ready(Ok(taken.len))
            }
            Err(NoData::NotYet) => Poll::Pending,
            Err(NoData::Finished) => Poll::Ready(Ok(0)),
            Err(NoData::Gone) => Poll::Ready(Err(flow.end.unwrap_or(Error::Closed))),
        }
    }

    #[inline]
    pub(crate) fn poll_write(&mut self, id: u32, data: &[u8], waker: &Waker) -> Poll<Result<usize, Error>> {
        let flow = &mut self.flows[id as usize];
        match flow.tcb.write(data, waker) {
            Some(0) => Poll::Pending,
            Some(len) => {
                flow.wrote = true;
                flow.unsent_len += len;
                self.mark_dirty(id);
                Poll::Ready(Ok(len))
            }
            None => Poll::Ready(Err(flow.end.unwrap_or(Error::Closed))),
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
        let flow = &mut self.flows[id as usize];
        flow.tcb.close();
        flow.wrote = true;
        self.mark_dirty(id);
    }

    pub(crate) fn abort(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        if flow.end.is_none() {
            flow.end = Some(Error::Closed);
        }
        self.reset(id);
    }

    pub(crate) fn set_nodelay(&mut self, id: u32, nodelay: bool) {
        self.flows[id as usize].tcb.set_nodelay(nodelay);
        self.mark_dirty(id);
    }

    pub(crate) fn set_keep_alive(&mut self, id: u32, interval: Option<Duration>) {
        let flow = &mut self.flows[id as usize];
        flow.keep_alive = interval;
        flow.tcb.set_keep_alive(interval);
        flow.timeouts_changed();
        self.mark_dirty(id);
    }

    pub(crate) fn set_user_timeout(&mut self, id: u32, timeout: Option<Duration>) {
        let flow = &mut self.flows[id as usize];
        flow.user_timeout = timeout;
        flow.timeouts_changed();
        self.mark_dirty(id);
    }
}
