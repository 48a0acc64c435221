//! Connections that wait for their next request, and the bounds on how many there are.
//!
//! A connection counts from the moment somebody begins to make it until it is closed; whoever finds no room waits.
//! Idle ones are watched by a task that runs while there are any: it drops those that the server closed, spoke on out
//! of turn, or that nobody used for too long.

use super::{BoxStream, Limits};
use alloc::{
    rc::{Rc, Weak},
    string::String,
    vec::Vec,
};
use core::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};
use unikernel_rt::{
    spawn_named,
    sync::Notify,
    time::{Instant, Sleep, sleep_until},
};

/// To whom a connection leads. Connections with equal keys can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) is_https: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

pub(super) struct Pool {
    per_host_max: usize,
    all_max: usize,
    idle_timeout: core::time::Duration,
    state: RefCell<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    idle: Vec<Idle>,
    /// Connections open to each server; together they are what `all_max` bounds.
    open: Vec<(Key, usize)>,
    /// Wakes the task that watches the idle ones; there is one while there is a waker.
    watcher: Option<Waker>,
    is_watched: bool,
}

struct Idle {
    lease: Lease,
    stream: BoxStream,
    until: Instant,
}

/// A place among the connections that may be open. Dropping it makes room.
pub(super) struct Lease {
    pool: Weak<Pool>,
    key: Key,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        pool.state.borrow_mut().close(&self.key);
        pool.freed.notify_all();
    }
}

/// What [`Pool::acquire`] found.
pub(super) enum Acquired {
    /// A connection that has served a request.
    Used(Lease, BoxStream),
    /// Room to make one.
    Room(Lease),
}

impl Pool {
    pub(super) fn new(limits: &Limits) -> Pool {
        Pool {
            per_host_max: limits.connections_per_host_max.max(1),
            all_max: limits.connections_max.max(1),
            idle_timeout: limits.pool_idle_timeout,
            state: RefCell::default(),
            freed: Notify::of("a free connection"),
        }
    }

    /// Waits for a connection to `key`, or for room for one. `is_fresh` asks for a new one. Cancel safe.
    pub(super) async fn acquire(self: &Rc<Pool>, key: &Key, is_fresh: bool) -> Acquired {
        loop {
            if let Some(acquired) = poll_fn(|cx| Poll::Ready(self.try_acquire(key, is_fresh, cx))).await {
                return acquired;
            }
            self.freed.notified().await;
        }
    }

    fn try_acquire(self: &Rc<Pool>, key: &Key, is_fresh: bool, cx: &mut Context<'_>) -> Option<Acquired> {
        while let Some(mut idle) = self.take_idle(key) {
            if !is_fresh && Instant::now() < idle.until && idle.is_quiet(cx) {
                return Some(Acquired::Used(idle.lease, idle.stream));
            }
        }
        if self.state.borrow().all_open() >= self.all_max {
            // Dropped after the borrow, as that makes room in the state.
            let oldest = self.state.borrow_mut().take_oldest();
            drop(oldest);
        }
        let mut state = self.state.borrow_mut();
        if state.all_open() >= self.all_max || state.open_to(key) >= self.per_host_max {
            return None;
        }
        state.open(key);
        Some(Acquired::Room(Lease { pool: Rc::downgrade(self), key: key.clone() }))
    }

    /// The connection used last, as the others may be too old soon.
    fn take_idle(&self, key: &Key) -> Option<Idle> {
        let mut state = self.state.borrow_mut();
        let place = state.idle.iter().rposition(|idle| idle.lease.key == *key)?;
        Some(state.idle.remove(place))
    }

    /// How many connections are open, and how many of them are idle.
    pub(super) fn count(&self) -> (usize, usize) {
        let state = self.state.borrow();
        (state.all_open(), state.idle.len())
    }

    fn watch(self: &Rc<Pool>) {
        let mut state = self.state.borrow_mut();
        if let Some(watcher) = state.watcher.take() {
            watcher.wake();
        }
        if !core::mem::replace(&mut state.is_watched, true) {
            spawn_named("idle connections", watch(Rc::downgrade(self)));
        }
    }
}

impl Lease {
    /// Keeps the connection for the next request: nothing is under way on it.
    pub(super) fn keep(self, stream: BoxStream) {
        let Some(pool) = self.pool.upgrade() else { return };
        let until = Instant::now() + pool.idle_timeout;
        pool.state.borrow_mut().idle.push(Idle { lease: self, stream, until });
        pool.freed.notify_all();
        pool.watch();
    }
}

impl State {
    fn all_open(&self) -> usize {
        self.open.iter().map(|(_, count)| count).sum()
    }

    fn open_to(&self, key: &Key) -> usize {
        self.open.iter().find(|(known, _)| known == key).map_or(0, |(_, count)| *count)
    }

    fn open(&mut self, key: &Key) {
        match self.open.iter_mut().find(|(known, _)| known == key) {
            Some((_, count)) => *count += 1,
            None => self.open.push((key.clone(), 1)),
        }
    }

    fn close(&mut self, key: &Key) {
        let Some(place) = self.open.iter().position(|(known, _)| known == key) else { return };
        self.open[place].1 -= 1;
        if self.open[place].1 == 0 {
            self.open.swap_remove(place);
        }
    }

    fn take_oldest(&mut self) -> Option<Idle> {
        if self.idle.is_empty() { None } else { Some(self.idle.remove(0)) }
    }
}

impl Idle {
    /// Whether the server said nothing since the last response. What it says now can be no answer (RFC 9112, 9.2).
    fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        self.stream.poll_read(cx, &mut [0]).is_pending()
    }
}

/// Drops idle connections that are no good any more; ends when there is none.
async fn watch(pool: Weak<Pool>) {
    let mut sleep = pin!(sleep_until(Instant::FOREVER));
    poll_fn(|cx| {
        let Some(pool) = pool.upgrade() else { return Poll::Ready(()) };
        sweep(&pool, sleep.as_mut(), cx)
    })
    .await;
}

fn sweep(pool: &Rc<Pool>, mut sleep: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let now = Instant::now();
        let mut idle = core::mem::take(&mut pool.state.borrow_mut().idle);
        // Their leases need the state, so it is not borrowed while they are dropped.
        idle.retain_mut(|idle| now < idle.until && idle.is_quiet(cx));
        let next = idle.iter().map(|idle| idle.until).min();
        let mut state = pool.state.borrow_mut();
        state.idle = idle;
        let Some(next) = next else {
            state.is_watched = false;
            return Poll::Ready(());
        };
        state.watcher = Some(cx.waker().clone());
        drop(state);
        sleep.as_mut().get_mut().reset(next);
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
    }
}
