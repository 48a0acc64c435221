//! Signals that would end this process: what was begun is undone first.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use anyhow::{Context, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch::{self, Receiver},
};

use crate::{fs::Draft, instance::local::launch::Interrupted};

/// Notices signals. Of several, each counts once.
pub struct Signals {
    heard: Receiver<Vec<i32>>,
    /// How many have been acted on.
    seen: usize,
}

impl Signals {
    /// From now on.
    pub fn new() -> Result<Signals> {
        let (sender, heard) = watch::channel(Vec::new());
        // The last one comes when the terminal is closed.
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::quit(), SignalKind::hangup()];
        for kind in kinds {
            let mut signals = signal(kind).context("cannot listen for signals")?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    sender.send_modify(|heard| heard.push(kind.as_raw_value()));
                }
            });
        }
        Draft::leave_signals_to_caller();
        Ok(Signals { heard, seen: 0 })
    }

    /// Fails when a signal has come.
    pub fn check(&self) -> Result<()> {
        match self.heard.borrow().get(self.seen) {
            Some(signal) => Err(Interrupted(*signal).into()),
            None => Ok(()),
        }
    }

    /// What a future yields, which is dropped when a signal comes first.
    pub async fn or<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        let (mut heard, seen) = (self.heard.clone(), self.seen);
        // The senders live as long as the runtime, so this ends with a signal only.
        let mut signal = pin!(heard.wait_for(|heard| heard.len() > seen));
        let mut future = pin!(future);
        let result = poll_fn(|context| match signal.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(context).map(Some),
        });
        match result.await {
            Some(result) => result,
            None => Err(Interrupted(self.heard.borrow().get(seen).copied().unwrap_or_default()).into()),
        }
    }

    /// What has come is dealt with; only the next one counts.
    pub fn begin_again(&mut self) {
        self.seen = self.heard.borrow().len();
    }
}
