//! The guest's heap in use, from the image's `/stats`.
//!
//! A guest keeps some of what it once needed: pools of buffers, tables that grew. So a first load goes before every
//! comparison, and both values are taken once the guest has forgotten its closed connections.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::get;

/// How long the guest may take to forget closed connections: TIME-WAIT and retransmissions.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Without a lower value for longer than TIME-WAIT lasts, nothing more will be freed.
const STEADY: Duration = Duration::from_secs(25);

/// Bytes in use, in the order in which they were read.
#[derive(Clone, Copy, Debug)]
pub struct Heap {
    /// Before any load.
    pub first: u64,
    /// After a first load.
    pub before: u64,
    /// After the load that counts.
    pub after: u64,
}

impl Heap {
    /// Around a first load and the one that counts; `None` where the guest does not tell.
    pub fn around<T>(
        address: SocketAddr,
        first_load: impl FnOnce() -> Result,
        load: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Option<Heap>)> {
        let first = in_use(address);
        first_load()?;
        let before = first.and_then(|_| settled(address));
        let found = load()?;
        let after = before.and_then(|before| settled_to(address, before));
        let heap = first.zip(before).zip(after).map(|((first, before), after)| Heap { first, before, after });
        Ok((found, heap))
    }
}

/// Bytes in use once they have stopped falling; `None` where the guest does not tell.
fn settled(address: SocketAddr) -> Option<u64> {
    let start = Instant::now();
    let mut lowest = (in_use(address)?, Instant::now());
    while lowest.1.elapsed() < STEADY && start.elapsed() < SETTLE_LIMIT {
        thread::sleep(Duration::from_secs(1));
        let heap = in_use(address)?;
        if heap < lowest.0 {
            lowest = (heap, Instant::now());
        }
    }
    Some(lowest.0)
}

/// Bytes in use as soon as they are back at `before`, or else when they have settled.
fn settled_to(address: SocketAddr, before: u64) -> Option<u64> {
    let heap = in_use(address)?;
    if heap <= before { Some(heap) } else { settled(address) }
}

fn in_use(address: SocketAddr) -> Option<u64> {
    let stats: serde_json::Value = serde_json::from_slice(&get(address, "/stats").ok()?).ok()?;
    stats.get("heap_in_use")?.as_u64()
}
