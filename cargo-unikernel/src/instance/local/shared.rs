//! What the threads of a supervisor share: the wish to stop, the machine's handles, who listens.

use std::{
    io::Write,
    net::Shutdown,
    os::unix::net::UnixStream,
    process::ChildStdin,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use signal_hook::consts::{SIGQUIT, SIGTERM};

use super::log::hand_on;
use crate::{instance::provider::Urgency, qmp::Qmp, vm::Orders};

/// See above.
#[derive(Default)]
pub struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    wish: Option<Urgency>,
    machine: Option<Handles>,
    /// The monitor of a machine that is not set up yet.
    starting: Option<UnixStream>,
    consoles: Vec<UnixStream>,
    /// Whether the command that made the supervisor wants it to stay; not known at first.
    is_kept: Option<bool>,
}

/// How a machine that runs is reached.
pub struct Handles {
    /// Ends it.
    pub orders: Orders,
    /// Its serial port; writing never waits.
    pub keyboard: Option<ChildStdin>,
    /// Its monitor, while nobody uses it.
    pub monitor: Option<Qmp>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each change is one assignment, so a thread that panicked has left nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was wished for.
    pub fn wish(&self) -> Option<Urgency> {
        self.inner().wish
    }

    /// Stops the machine, now or when it is there, and whatever would start it again.
    pub fn stop(&self, urgency: Urgency) {
        let mut inner = self.inner();
        // A wish for an order is no reason to hurry less.
        if inner.wish == Some(Urgency::Now) || inner.wish == Some(urgency) {
            return;
        }
        inner.wish = Some(urgency);
        let orders = inner.machine.as_ref().map(|machine| machine.orders.clone());
        let starting = inner.starting.take();
        drop(inner);
        // Who waits for it to be set up waits no longer.
        let _ = starting.map(|monitor| monitor.shutdown(Shutdown::Both));
        self.changed.notify_all();
        if let Some(orders) = orders {
            orders.signal(signal(urgency));
        }
    }

    /// The command that made the supervisor wants it to stay.
    pub fn keep(&self) {
        self.inner().is_kept = Some(true);
        self.changed.notify_all();
    }

    /// That command is gone, and what it made goes with it.
    pub fn abandon(&self) {
        self.inner().is_kept = Some(false);
        self.stop(Urgency::Now);
        self.changed.notify_all();
    }

    /// Whether it is to stay; waits until that is known.
    pub fn is_kept(&self) -> bool {
        let mut inner = self.inner();
        loop {
            match inner.is_kept {
                Some(is_kept) => return is_kept,
                None => inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// There will be a machine, when QEMU has answered here.
    ///
    /// # Errors
    ///
    /// There shall be none any more.
    pub fn set_starting(&self, monitor: UnixStream) -> Result<()> {
        let mut inner = self.inner();
        ensure!(inner.wish.is_none(), "stopped before it was started");
        inner.starting = Some(monitor);
        Ok(())
    }

    /// There is a machine now.
    pub fn set_machine(&self, handles: Handles) {
        let orders = handles.orders.clone();
        let mut inner = self.inner();
        (inner.machine, inner.starting) = (Some(handles), None);
        let wish = inner.wish;
        drop(inner);
        if let Some(urgency) = wish {
            orders.signal(signal(urgency));
        }
    }

    /// There is none any more.
    pub fn forget_machine(&self) {
        let mut inner = self.inner();
        (inner.machine, inner.starting) = (None, None);
    }

    /// Waits for so long, or for a wish. True when there is one.
    pub fn wait_for_wish(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        let mut inner = self.inner();
        while inner.wish.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Hands on what the machine says to this console.
    pub fn add_console(&self, console: UnixStream) {
        self.inner().consoles.push(console);
    }

    /// Hands on what the machine says. A console that is too slow loses some of it; one that is closed is forgotten.
    pub fn show(&self, bytes: &[u8]) {
        self.inner().consoles.retain(|console| hand_on(console, bytes));
    }

    /// Types to the machine. What it does not read, and its pipe does not hold, is lost.
    pub fn type_in(&self, keys: &[u8]) {
        if let Some(keyboard) = self.inner().machine.as_mut().and_then(|machine| machine.keyboard.as_mut()) {
            let _ = keyboard.write_all(keys);
        }
    }

    /// Does something with the machine's monitor that may take a while.
    pub fn with_monitor<T>(&self, work: impl FnOnce(&mut Qmp) -> Result<T>) -> Result<T> {
        let monitor = self.inner().machine.as_mut().and_then(|machine| machine.monitor.take());
        let mut monitor = monitor.context("the machine does not run, or is being copied; try again")?;
        let result = work(&mut monitor);
        // A machine that has ended meanwhile takes its monitor with it.
        if let Some(machine) = self.inner().machine.as_mut() {
            machine.monitor.get_or_insert(monitor);
        }
        result
    }
}

/// The order that is this wish, see [`vm`](crate::vm).
fn signal(urgency: Urgency) -> i32 {
    match urgency {
        Urgency::InOrder => SIGTERM,
        Urgency::Now => SIGQUIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, thread};

    #[test]
    fn a_wish_ends_a_wait_and_grows_more_urgent_only() {
        let shared = Shared::default();
        assert!(!shared.wait_for_wish(Duration::ZERO));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| shared.wait_for_wish(Duration::from_secs(60)));
            shared.stop(Urgency::InOrder);
            assert!(waiter.join().unwrap());
        });
        shared.stop(Urgency::Now);
        shared.stop(Urgency::InOrder);
        assert_eq!(shared.wish(), Some(Urgency::Now));
    }

    #[test]
    fn who_is_abandoned_stops() {
        let shared = Shared::default();
        shared.keep();
        assert!(shared.is_kept() && shared.wish().is_none());
        let shared = Shared::default();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| shared.is_kept());
            shared.abandon();
            assert!(!waiter.join().unwrap());
        });
        assert_eq!(shared.wish(), Some(Urgency::Now));
    }

    #[test]
    fn a_start_is_broken_off() {
        let shared = Shared::default();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        shared.set_starting(ours).unwrap();
        shared.stop(Urgency::InOrder);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(shared.set_starting(ours).is_err());
    }

    #[test]
    fn consoles_are_never_waited_for() {
        let shared = Shared::default();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (gone, _) = UnixStream::pair().unwrap();
        shared.add_console(ours);
        shared.add_console(gone);
        (0..1_000).for_each(|_| shared.show(&[b'x'; 4096]));
        assert_eq!(shared.inner().consoles.len(), 1);
        let mut start = [0; 4096];
        theirs.read_exact(&mut start).unwrap();
        assert_eq!(start, [b'x'; 4096]);
        // Nobody is there to type to.
        shared.type_in(b"keys");
        assert!(shared.with_monitor(|_| Ok(())).unwrap_err().to_string().starts_with("the machine does not run"));
    }
}
