//! The guest's heap in use, from the image's `/stats`.
//!
//! A guest keeps some of what it once needed: pools of buffers, tables that grew. So a first load goes before every
//! comparison, and both values are taken once the guest has forgotten its closed connections.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::get;

/// How long the guest may take to forget closed connections: TIME-WAIT and retransmissions.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Without a lower value for longer than TIME-WAIT lasts, nothing more will be freed.
const STEADY: Duration = Duration::from_secs(25);

/// Bytes in use once they have stopped falling; `None` where the guest does not tell.
pub fn settled(address: SocketAddr) -> Option<u64> {
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
pub fn settled_to(address: SocketAddr, before: u64) -> Option<u64> {
    let heap = in_use(address)?;
    if heap <= before { Some(heap) } else { settled(address) }
}

fn in_use(address: SocketAddr) -> Option<u64> {
    let stats: serde_json::Value = serde_json::from_slice(&get(address, "/stats").ok()?).ok()?;
    stats.get("heap_in_use")?.as_u64()
}
