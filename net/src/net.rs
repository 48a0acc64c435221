//! The stack as a state machine: frames, moments and the application's calls go in, frames and wake-ups come
//! out. It reads no clock and never waits.
//!
//! One turn: flows whose moment has come, then flows that the application or a packet touched ("dirty"), then
//! received frames. A packet only marks its flow; the flow sends in the next turn, after the application had
//! the chance to write, so that the answer, the acknowledgement and a FIN leave in one segment.

mod apps;
mod control;
mod datagrams;
mod handshake;
mod ingress;
mod life;
mod list;
mod memory;
mod routing;
mod settle;

pub(crate) use control::Services;
pub(crate) use memory::Memory;

use crate::{
    complaints::Complaints,
    config::Config,
    flow::{Flow, Stage},
    flow_map::FlowMap,
    fragments::Fragments,
    half_open::HalfOpen,
    interface::Interface,
    limits::{DHCP_PATIENCE, Limits},
    numbers::Numbers,
    sources::Sources,
    stats::{Drops, FlowCounts, Stats},
    tcp::Budget,
    time_wait::TimeWait,
    timers::Timers,
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::{
    net::IpAddr,
    task::{Context, Poll, Waker},
};
use datagrams::Socket;
use slab::Slab;
use unikernel_rt::{device::NetDevice, time::Instant};

pub(crate) struct Net {
    interfaces: Vec<Interface>,
    map: FlowMap,
    flows: Slab<Flow>,
    timers: Timers,
    time_wait: TimeWait,
    half_open: HalfOpen,
    /// Until then there may be handshakes that we do not remember.
    cookies_until: Instant,
    numbers: Numbers,
    sources: Sources,
    listeners: BTreeMap<u16, Backlog>,
    sockets: Slab<Socket>,
    udp_ports: BTreeMap<u16, u32>,
    /// Who waits for a port that has room again, to send a datagram.
    senders: Vec<Waker>,
    fragments: Fragments,
    /// Flows to look at in the next turn.
    dirty: VecDeque<u32>,
    budget: Budget,
    memory: Memory,
    complaints: Complaints,
    limits: Limits,
    backlog_max: usize,
    /// When to look after addresses and neighbours again.
    control_at: Instant,
    /// When to complain that no address was found.
    patience: Instant,
    news: VecDeque<News>,
    /// The task that calls `turn`; woken when the application gave it work.
    task: Option<Waker>,
    /// The task will run anyway.
    awake: bool,
    /// Who waits until closed connections have sent what they owe.
    drainer: Option<Waker>,
    counters: Counters,
}

/// A listener's connections.
#[derive(Default)]
struct Backlog {
    ready: VecDeque<u32>,
    waker: Option<Waker>,
    /// Connections that begin now are refused; those that have begun still come.
    is_closed: bool,
}

#[derive(Default)]
struct Counters {
    accepted: u64,
    connects: u64,
    cookies: u64,
    reassembled: u64,
    retransmits: u64,
    opened: u64,
    closed: u64,
    resets_received: u64,
    resets_sent: u64,
    flow_polls: u64,
    drops: Drops,
}

/// What the shell is to log and to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Address(IpAddr),
    AddressLost(IpAddr),
    Conflict(IpAddr),
    NoAddress,
    /// Routes, or servers for names and time.
    Services,
    Memory {
        is_low: bool,
        free: usize,
    },
}

/// Secrets of this boot.
pub(crate) struct Secrets {
    pub(crate) table: [u64; 2],
    pub(crate) numbers: Numbers,
}

impl Net {
    pub(crate) fn new(
        devices: Vec<Box<dyn NetDevice>>,
        config: &Config,
        heap_len: usize,
        secrets: Secrets,
        now: Instant,
        random: &mut dyn FnMut() -> u64,
    ) -> Net {
        let limits = Limits::new(heap_len, config.bounds);
        let ports = devices.into_iter().enumerate();
        let interfaces: Vec<Interface> = ports
            .map(|(index, device)| Interface::new(device, &config.port(index), config, now, &mut *random))
            .collect();
        Net {
            patience: now + DHCP_PATIENCE,
            interfaces,
            map: FlowMap::new(secrets.table),
            flows: Slab::new(),
            timers: Timers::default(),
            time_wait: TimeWait::new(limits.time_wait),
            half_open: HalfOpen::new(limits.half_open),
            cookies_until: now,
            numbers: secrets.numbers,
            sources: Sources::new(secrets.table),
            listeners: BTreeMap::new(),
            sockets: Slab::new(),
            udp_ports: BTreeMap::new(),
            senders: Vec::new(),
            fragments: Fragments::default(),
            dirty: VecDeque::new(),
            budget: Budget::new(limits.window_memory),
            memory: Memory::new(limits.low_memory),
            complaints: Complaints::new(now),
            backlog_max: config.backlog.max(1),
            limits,
            control_at: now,
            news: VecDeque::new(),
            task: None,
            awake: true,
            drainer: None,
            counters: Counters::default(),
        }
    }

    /// One turn, with what it may ask for. True when the next should follow at once, after the other tasks.
    #[inline]
    pub(crate) fn turn(&mut self, now: Instant, random: &mut dyn FnMut() -> u64) -> bool {
        for interface in &mut self.interfaces {
            interface.link.retry();
        }
        self.forget_expired(now);
        self.run_handshakes(now);
        self.run_timers(now);
        self.settle_dirty(now);
        let more = self.receive(now);
        if now >= self.control_at.min(self.patience) || self.interfaces.iter().any(Interface::has_work) {
            self.run_control(now, random);
        }
        let mut is_full = false;
        for interface in &mut self.interfaces {
            interface.link.flush();
            is_full |= interface.link.is_full();
        }
        if self.drainer.is_some() && self.is_drained() {
            self.drainer.take().into_iter().for_each(Waker::wake);
        }
        if !is_full {
            self.senders.drain(..).for_each(Waker::wake);
        }
        more || (!self.dirty.is_empty() && !is_full)
    }

    /// When to take the next turn even if nothing happens.
    #[inline]
    pub(crate) fn next_moment(&self) -> Instant {
        let flows = self.timers.next().unwrap_or(Instant::FOREVER);
        flows.min(self.control_at).min(self.patience).min(self.half_open.next_moment())
    }

    /// Whether a frame may be there, or room for one; otherwise `cx` is woken then.
    #[inline]
    pub(crate) fn poll_devices(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = Poll::Pending;
        for interface in &mut self.interfaces {
            if interface.link.poll_ready(cx).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    /// The next thing to tell the log.
    #[inline]
    pub(crate) fn news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// The task begins a turn; until it sleeps, nobody needs to wake it.
    #[inline]
    pub(crate) fn stay_awake(&mut self) {
        self.awake = true;
    }

    /// The task waits from now on, and wants to be woken.
    #[inline]
    pub(crate) fn sleep(&mut self, waker: &Waker) {
        self.awake = false;
        match &mut self.task {
            Some(task) => task.clone_from(waker),
            task => *task = Some(waker.clone()),
        }
    }

    /// Makes sure that a turn comes.
    #[inline]
    fn wake_task(&mut self) {
        if !self.awake {
            self.awake = true;
            if let Some(task) = &self.task {
                task.wake_by_ref();
            }
        }
    }

    /// Queues a flow for the next turn.
    #[inline]
    fn mark_dirty(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        if !flow.dirty {
            flow.dirty = true;
            self.dirty.push_back(id);
            self.wake_task();
        }
    }

    /// Whether any port has an address that others may know.
    pub(crate) fn is_configured(&self) -> bool {
        self.interfaces.iter().any(|interface| interface.global_addresses().next().is_some())
    }

    /// The addresses of all ports, without the link-local ones.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.interfaces.iter().flat_map(|interface| interface.global_addresses()).collect()
    }

    pub(crate) fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut by_state = FlowCounts { half_open: self.half_open.len(), ..FlowCounts::default() };
        let mut retransmits = self.counters.retransmits;
        for (_, flow) in &self.flows {
            retransmits += u64::from(flow.tcb.info().retransmits);
            *match flow.stage {
                Stage::Connecting => &mut by_state.connecting,
                Stage::Queued => &mut by_state.queued,
                Stage::Owned => &mut by_state.owned,
                Stage::Orphan => &mut by_state.orphaned,
            } += 1;
        }
        let sum = |of: fn(&Interface) -> u64| self.interfaces.iter().map(of).sum();
        Stats {
            flows: self.flows.len(),
            by_state,
            time_wait: self.time_wait.len(),
            window_memory: self.budget.used(),
            spare_memory: self.budget.spare_len(),
            frames_in: sum(|interface| interface.link.frames_in),
            frames_out: sum(|interface| interface.link.frames_out),
            accepted: self.counters.accepted,
            connects: self.counters.connects,
            cookies: self.counters.cookies,
            reassembled: self.counters.reassembled,
            retransmits,
            opened: self.counters.opened,
            closed: self.counters.closed,
            resets_received: self.counters.resets_received,
            resets_sent: self.counters.resets_sent,
            flow_polls: self.counters.flow_polls,
            timer_steps: self.timers.steps,
            fragmented: self.fragments.len(),
            drops: Drops {
                no_room: sum(|interface| interface.link.dropped),
                complaints: self.complaints.suppressed,
                ..self.counters.drops
            },
        }
    }
}
