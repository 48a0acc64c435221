//! UDP (RFC 768): sockets, what they receive and send.

use super::{Net, ingress::source};
use crate::{
    address::packet::{Path, udp4, udp6},
    error::{ListenError, SendError},
    flow::Waiter,
    limits::{DATAGRAM_MEMORY_MAX, DATAGRAMS_MAX, EPHEMERAL_PORTS, GROUPS_MAX, PORT_TRIES_MAX},
    packet::{Datagram, Reason, UDP_HEADER_LEN},
    sockets::{SocketInfo, SocketState},
};
use alloc::{collections::VecDeque, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    task::{Poll, Waker},
};
use unikernel_rt::{device::Frame, task::wait_for, time::Instant};

/// Where DHCP clients listen.
const DHCP_CLIENT: u16 = 68;
const DHCPV6_CLIENT: u16 = 546;

/// A socket's state.
#[derive(Default)]
pub(crate) struct Socket {
    port: u16,
    received: VecDeque<Received>,
    memory: usize,
    reader: Waiter,
    groups: Vec<IpAddr>,
}

impl Socket {
    pub(super) fn info(&self) -> SocketInfo {
        let receive_queue = self.received.iter().map(|datagram| datagram.data.len()).sum();
        SocketInfo { receive_queue, ..SocketInfo::on_port(SocketState::Udp, self.port) }
    }
}

/// A datagram that waits in its frame.
struct Received {
    frame: Frame,
    from: SocketAddr,
    to: IpAddr,
    data: core::ops::Range<usize>,
}

/// What [`Net::poll_recv`] tells beside the data.
pub(crate) struct Arrival {
    pub(crate) from: SocketAddr,
    pub(crate) to: IpAddr,
    /// Its whole length, of which the buffer holds as much as fits.
    pub(crate) len: usize,
}

impl Net {
    /// A datagram came.
    pub(super) fn udp(&mut self, index: usize, frame: Frame, datagram: &Datagram, now: Instant) {
        let local: IpAddr = datagram.key.local.into();
        let port = datagram.key.local_port();
        if port == DHCP_CLIENT && local.is_ipv4() || port == DHCPV6_CLIENT && local.is_ipv6() {
            return self.dhcp(index, &frame, datagram, now);
        }
        if !self.interfaces[index].accepts(local) {
            return self.count_drop(Reason::Foreign);
        }
        let Some(&id) = self.udp_ports.get(&port) else {
            self.counters.drops.unmatched += 1;
            return self.unreachable(index, &frame, datagram, now);
        };
        let socket = &mut self.sockets[id as usize];
        let memory = frame.capacity();
        if socket.received.len() >= DATAGRAMS_MAX || socket.memory + memory > DATAGRAM_MEMORY_MAX {
            self.counters.drops.datagrams += 1;
            return;
        }
        socket.memory += memory;
        let data = datagram.data..datagram.end;
        socket.received.push_back(Received { from: datagram.key.peer(), to: local, data, frame });
        socket.reader.wake();
    }

    /// Tells who sent a datagram to us alone that nobody listens (RFC 1122, 4.1.3.1).
    fn unreachable(&mut self, index: usize, frame: &Frame, datagram: &Datagram, now: Instant) {
        let to_us = datagram.ip.to_us && self.interfaces[index].is_ours(datagram.key.local.into());
        if to_us && self.complaints.allow(now) {
            self.interfaces[index].port_unreachable(source(frame), frame, datagram);
        }
    }

    /// A socket on `port`, or on a free one if that is 0.
    pub(crate) fn bind(&mut self, port: u16, mut random: impl FnMut() -> u64) -> Result<(u32, u16), ListenError> {
        let port = match port {
            0 => {
                let span = u64::from(EPHEMERAL_PORTS.end() - EPHEMERAL_PORTS.start()) + 1;
                let tries = (0..PORT_TRIES_MAX).map(|_| EPHEMERAL_PORTS.start() + (random() % span) as u16);
                let free = tries.into_iter().find(|port| !self.udp_ports.contains_key(port));
                free.ok_or(ListenError::PortInUse(0))?
            }
            DHCP_CLIENT | DHCPV6_CLIENT => return Err(ListenError::PortInUse(port)),
            port if self.udp_ports.contains_key(&port) => return Err(ListenError::PortInUse(port)),
            port => port,
        };
        let id = self.sockets.insert(Socket { port, ..Socket::default() }) as u32;
        self.udp_ports.insert(port, id);
        Ok((id, port))
    }

    /// Ends a socket; what it has not received is lost.
    pub(crate) fn unbind(&mut self, id: u32, now: Instant, random: &mut dyn FnMut() -> u64) {
        let socket = self.sockets.remove(id as usize);
        self.udp_ports.remove(&socket.port);
        for group in socket.groups {
            self.leave_all(group, now, random);
        }
    }

    pub(crate) fn poll_recv(&mut self, id: u32, buffer: &mut [u8], waker: &Waker) -> Poll<Arrival> {
        let socket = &mut self.sockets[id as usize];
        let Some(Received { frame, from, to, data }) = socket.received.pop_front() else {
            socket.reader.wait(waker);
            wait_for("a datagram");
            return Poll::Pending;
        };
        socket.memory -= frame.capacity();
        let data = &frame[data];
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        Poll::Ready(Arrival { from, to, len: data.len() })
    }

    /// Sends a datagram, from the given address of the machine or the one that fits best; waits while the network port
    /// is full.
    pub(crate) fn poll_send(
        &mut self,
        id: u32,
        data: &[u8],
        from: Option<IpAddr>,
        to: SocketAddr,
        waker: &Waker,
    ) -> Poll<Result<(), SendError>> {
        if to.port() == 0 || to.ip().is_unspecified() {
            return Poll::Ready(Err(SendError::Unreachable));
        }
        let Some(route) = self.route(to.ip()) else {
            let error = if self.is_configured() { SendError::Unreachable } else { SendError::NotConfigured };
            return Poll::Ready(Err(error));
        };
        let port = self.sockets[id as usize].port;
        let interface = &mut self.interfaces[route.interface];
        if from.is_some_and(|source| !interface.is_ours(source)) {
            return Poll::Ready(Err(SendError::Unreachable));
        }
        let source = from.unwrap_or(route.source);
        let headers = UDP_HEADER_LEN + if to.is_ipv4() { 20 } else { 40 };
        let max = interface.mtu(to.is_ipv4()) - headers;
        if data.len() > max {
            return Poll::Ready(Err(SendError::TooLong { len: data.len(), max }));
        }
        if interface.link.is_full() {
            self.senders.push(waker.clone());
            wait_for("room to send");
            return Poll::Pending;
        }
        let macs = (interface.link.mac(), [0; 6]);
        let ports = (port, to.port());
        let frame = match (source, to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => udp4(Path { macs, source, destination }, ports, data),
            (IpAddr::V6(source), IpAddr::V6(destination)) => udp6(Path { macs, source, destination }, ports, data),
            _ => return Poll::Ready(Err(SendError::Unreachable)),
        };
        interface.send_via(route.next_hop, frame);
        self.wake_task();
        Poll::Ready(Ok(()))
    }

    /// Makes a socket receive what is sent to a group, on all ports. False when too many are joined.
    pub(crate) fn join(&mut self, id: u32, group: IpAddr, now: Instant, random: &mut dyn FnMut() -> u64) -> bool {
        let groups = &self.sockets[id as usize].groups;
        if groups.contains(&group) {
            return true;
        }
        if groups.len() >= GROUPS_MAX {
            return false;
        }
        for index in 0..self.interfaces.len() {
            if !self.interfaces[index].join(group, now, random) {
                self.interfaces[..index].iter_mut().for_each(|joined| joined.leave(group, now, random));
                return false;
            }
        }
        self.sockets[id as usize].groups.push(group);
        self.look_after_control(now);
        true
    }

    pub(crate) fn leave(&mut self, id: u32, group: IpAddr, now: Instant, random: &mut dyn FnMut() -> u64) {
        let groups = &mut self.sockets[id as usize].groups;
        if let Some(index) = groups.iter().position(|known| *known == group) {
            groups.remove(index);
            self.leave_all(group, now, random);
        }
    }

    fn leave_all(&mut self, group: IpAddr, now: Instant, random: &mut dyn FnMut() -> u64) {
        for interface in &mut self.interfaces {
            interface.leave(group, now, random);
        }
        self.look_after_control(now);
    }

    /// There are reports to send.
    fn look_after_control(&mut self, now: Instant) {
        self.control_at = now;
        self.wake_task();
    }
}
