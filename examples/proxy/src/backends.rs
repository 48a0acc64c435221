//! The servers behind the proxy, and whose turn it is.

use crate::{health::Health, settings::Balance};
use alloc::{rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    net::SocketAddr,
};
use unikernel_rt::log::{Display2Format as Text, info, warn};

/// All servers.
pub struct Backends {
    all: Vec<Rc<Backend>>,
    balance: Balance,
    /// Who comes first next time, if it can.
    next: Cell<usize>,
}

/// One server.
pub struct Backend {
    pub address: SocketAddr,
    health: RefCell<Health>,
    /// Requests whose responses are not complete.
    in_flight: Cell<usize>,
}

/// A request that a backend is busy with. Dropping it says that it is done.
pub struct Busy(Rc<Backend>);

impl Backends {
    pub fn new(addresses: &[SocketAddr], balance: Balance) -> Backends {
        let all = addresses.iter().map(|address| Rc::new(Backend::new(*address)));
        Backends { all: all.collect(), balance, next: Cell::new(0) }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rc<Backend>> {
        self.all.iter()
    }

    /// Who takes the next request: a server that is up, and is not `except`. `None` when there is none.
    pub fn choose(&self, except: Option<&Rc<Backend>>) -> Option<Rc<Backend>> {
        let start = self.next.get();
        let turn = |place: usize| (start + place) % self.all.len();
        let mut candidates = (0..self.all.len()).map(turn).filter(|index| {
            let backend = &self.all[*index];
            backend.is_up() && except.is_none_or(|except| !Rc::ptr_eq(except, backend))
        });
        let chosen = match self.balance {
            Balance::RoundRobin => candidates.next(),
            // The first of the least: they take turns, too.
            Balance::LeastConnections => candidates.min_by_key(|index| self.all[*index].in_flight.get()),
        }?;
        self.next.set((chosen + 1) % self.all.len());
        Some(self.all[chosen].clone())
    }
}

impl Backend {
    fn new(address: SocketAddr) -> Backend {
        Backend { address, health: RefCell::default(), in_flight: Cell::new(0) }
    }

    pub fn is_up(&self) -> bool {
        self.health.borrow().is_up()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Counts a request until the result is dropped.
    pub fn begin(self: &Rc<Backend>) -> Busy {
        self.in_flight.set(self.in_flight.get() + 1);
        Busy(self.clone())
    }

    /// Something was heard of it; `Err` has the reason. Says so when that changes what it is.
    pub fn note<E: core::fmt::Display>(&self, result: &Result<(), E>) {
        if !self.health.borrow_mut().note(result.is_ok()) {
            return;
        }
        match result {
            Ok(()) => info!("backend {} is up", Text(&self.address)),
            Err(reason) => warn!("backend {} is down: {}", Text(&self.address), Text(reason)),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}
