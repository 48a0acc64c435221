//! The stack as a state machine: frames, moments and the application's calls go in, frames and wake-ups come
//! out. It reads no clock and never waits.
//!
//! One turn: flows whose moment has come, then flows that the application or a packet touched ("dirty"), then
//! received frames. A packet only marks its flow; the flow sends in the next turn, after the application had
//! the chance to write, so that the answer, the acknowledgement and a FIN leave in one segment.

mod apps;
mod ingress;
mod life;
mod settle;

use crate::{
    config::{Addressing, Config, Ipv4Cidr},
    engine::{Engine, Lease, LeaseChange, Link, Size, Tcb},
    error::Error,
    flow::{Flow, HalfOpen, Stage},
    flow_map::FlowMap,
    limits::{DHCP_PATIENCE, Limits},
    stats::{Drops, FlowCounts, Stats},
    time_wait::TimeWait,
    timers::Timers,
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::{
    net::Ipv4Addr,
    task::{Context, Poll, Waker},
};
use slab::Slab;
use unikernel_rt::{device::NetDevice, time::Instant};

pub(crate) struct Net {
    link: Link,
    engine: Engine,
    map: FlowMap,
    flows: Slab<Flow>,
    timers: Timers,
    time_wait: TimeWait,
    half_open: HalfOpen,
    listeners: BTreeMap<u16, Backlog>,
    /// Flows to look at in the next turn.
    dirty: VecDeque<u32>,
    /// Flows that wait for the Ethernet address of their peer.
    unresolved: Vec<u32>,
    /// Unused machines with their buffers.
    pool: [Vec<Tcb>; 2],
    large_in_use: usize,
    limits: Limits,
    backlog_max: usize,
    address: Option<Ipv4Cidr>,
    gateway: Option<Ipv4Addr>,
    lease: Option<Lease>,
    lease_due: Instant,
    /// When to complain that no DHCP server answers.
    patience: Instant,
    /// The task that calls `turn`; woken when the application gave it work.
    task: Option<Waker>,
    /// The task will run anyway.
    awake: bool,
    counters: Counters,
}

/// A listener's connections.
#[derive(Default)]
struct Backlog {
    ready: VecDeque<u32>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Counters {
    accepted: u64,
    connects: u64,
    retransmits: u64,
    flow_polls: u64,
    drops: Drops,
}

/// What the shell is to log and to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Address(Ipv4Cidr, Option<Ipv4Addr>),
    AddressLost,
    NoDhcpAnswer,
}

/// Secrets of this boot.
pub(crate) struct Secrets {
    pub(crate) hash: [u64; 2],
    pub(crate) engine: [u64; 2],
}

impl Net {
    pub(crate) fn new(
        device: Box<dyn NetDevice>,
        config: Config,
        heap_len: usize,
        secrets: Secrets,
        now: Instant,
    ) -> Net {
        let limits = Limits::new(heap_len, config.connections);
        let mut link = Link::new(device);
        let engine = Engine::new(&mut link, secrets.engine, now);
        let mut net = Net {
            link,
            engine,
            map: FlowMap::new(secrets.hash),
            flows: Slab::new(),
            timers: Timers::default(),
            time_wait: TimeWait::new(limits.time_wait),
            half_open: HalfOpen::default(),
            listeners: BTreeMap::new(),
            dirty: VecDeque::new(),
            unresolved: Vec::new(),
            pool: [Vec::new(), Vec::new()],
            large_in_use: 0,
            limits,
            backlog_max: config.backlog.max(1),
            address: None,
            gateway: None,
            lease: None,
            lease_due: Instant::FOREVER,
            patience: Instant::FOREVER,
            task: None,
            awake: true,
            counters: Counters::default(),
        };
        match config.addressing {
            Addressing::Static { address, gateway } => net.configure(Some(address), gateway),
            Addressing::Dhcp => {
                net.lease = Some(Lease::new());
                net.lease_due = now;
                net.patience = now + DHCP_PATIENCE;
            }
        }
        net
    }

    fn configure(&mut self, address: Option<Ipv4Cidr>, gateway: Option<Ipv4Addr>) {
        let moved = self.address != address;
        (self.address, self.gateway) = (address, gateway);
        self.engine.configure(address, gateway);
        if moved {
            self.drop_address();
        }
    }

    /// Connections end with the address they were made with.
    fn drop_address(&mut self) {
        let all: Vec<u32> = self.flows.iter().map(|(id, _)| id as u32).collect();
        for id in all {
            let flow = &mut self.flows[id as usize];
            flow.end.get_or_insert(Error::AddressLost);
            flow.tcb.vanish();
            self.gone(id);
        }
    }

    /// One turn. True when the next should follow at once, after the other tasks.
    pub(crate) fn turn(&mut self, now: Instant) -> bool {
        self.link.retry();
        self.forget_expired(now);
        self.run_timers(now);
        self.settle_dirty(now);
        let more = self.receive(now);
        self.link.flush();
        more || (!self.dirty.is_empty() && !self.link.is_full())
    }

    /// When to take the next turn even if nothing happens.
    pub(crate) fn next_moment(&self) -> Instant {
        let flows = self.timers.next().unwrap_or(Instant::FOREVER);
        flows.min(self.lease_due).min(self.patience)
    }

    /// Looks after the lease.
    pub(crate) fn lease_turn(&mut self, now: Instant) -> Option<News> {
        if now >= self.lease_due {
            let Some(lease) = &mut self.lease else { return None };
            self.lease_due = lease.poll(&mut self.engine, &mut self.link, now);
            self.link.flush();
            if let Some(change) = lease.change() {
                return self.lease_changed(change);
            }
        }
        if now >= self.patience {
            self.patience = Instant::FOREVER;
            return Some(News::NoDhcpAnswer);
        }
        None
    }

    fn lease_changed(&mut self, change: LeaseChange) -> Option<News> {
        let old = self.address;
        match change {
            LeaseChange::Given { address, gateway } => {
                self.patience = Instant::FOREVER;
                let is_news = (old, self.gateway) != (Some(address), gateway);
                if is_news {
                    self.configure(Some(address), gateway);
                }
                is_news.then_some(News::Address(address, gateway))
            }
            LeaseChange::Lost => {
                self.configure(None, None);
                old.map(|_| News::AddressLost)
            }
        }
    }

    /// Whether a frame may be there, or room for one; otherwise `cx` is woken then.
    pub(crate) fn poll_device(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.poll_ready(cx)
    }

    /// The task begins a turn; until it sleeps, nobody needs to wake it.
    pub(crate) fn stay_awake(&mut self) {
        self.awake = true;
    }

    /// The task waits from now on, and wants to be woken.
    pub(crate) fn sleep(&mut self, waker: &Waker) {
        self.awake = false;
        match &mut self.task {
            Some(task) => task.clone_from(waker),
            task => *task = Some(waker.clone()),
        }
    }

    /// Queues a flow for the next turn.
    #[inline]
    fn mark_dirty(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        if flow.dirty {
            return;
        }
        flow.dirty = true;
        self.dirty.push_back(id);
        if !self.awake {
            self.awake = true;
            if let Some(task) = &self.task {
                task.wake_by_ref();
            }
        }
    }

    pub(crate) fn address(&self) -> Option<Ipv4Cidr> {
        self.address
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut by_state = FlowCounts::default();
        let mut retransmits = self.counters.retransmits;
        for (_, flow) in &self.flows {
            retransmits += u64::from(flow.sending.repeats);
            *match flow.stage {
                Stage::Connecting => &mut by_state.connecting,
                Stage::HalfOpen => &mut by_state.half_open,
                Stage::Queued => &mut by_state.queued,
                Stage::Owned => &mut by_state.owned,
                Stage::Orphan => &mut by_state.orphaned,
            } += 1;
        }
        Stats {
            flows: self.flows.len(),
            by_state,
            time_wait: self.time_wait.len(),
            pooled: self.pool.iter().map(Vec::len).sum(),
            frames_in: self.link.frames_in,
            frames_out: self.link.frames_out,
            accepted: self.counters.accepted,
            connects: self.counters.connects,
            retransmits,
            flow_polls: self.counters.flow_polls,
            timer_steps: self.timers.steps,
            drops: Drops { no_room: self.link.dropped, ..self.counters.drops },
        }
    }

    /// A machine with buffers, used before if possible.
    fn take_tcb(&mut self) -> (Tcb, Size) {
        let size = if self.large_in_use < self.limits.large { Size::Large } else { Size::Ordinary };
        if size == Size::Large {
            self.large_in_use += 1;
        }
        (self.pool[size as usize].pop().unwrap_or_else(|| Tcb::new(size)), size)
    }

    fn give_back(&mut self, tcb: Tcb, size: Size) {
        let max = match size {
            Size::Large => {
                self.large_in_use -= 1;
                self.limits.large
            }
            Size::Ordinary => self.limits.pooled,
        };
        let pool = &mut self.pool[size as usize];
        if pool.len() < max {
            pool.push(tcb);
        }
    }
}
