//! A flood of packets from senders that do not exist, and an honest client beside it.
//!
//! The honest client asks at fixed times, 100 times a second on a connection it keeps and 100 times on new ones, and
//! each request's time is counted from the moment it was due: a server that makes one wait delays those after it, too.

mod honest;
mod packet;
mod sender;

use std::net::{SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::heap::Heap;
use crate::vm::Vm;
pub use honest::Honest;
use packet::Kind;
pub use sender::Sent;

/// A kind of flood.
pub struct Flood {
    /// Name on the command line, and stem of its rows' ids.
    pub id: &'static str,
    kind: Kind,
}

/// What `flood` measures.
pub const FLOODS: &[Flood] = &[
    Flood { id: "flood-syn", kind: Kind::SynFromAnywhere },
    Flood { id: "flood-few", kind: Kind::SynFromFew },
    Flood { id: "flood-ack", kind: Kind::AckFromAnywhere },
    Flood { id: "flood-rst", kind: Kind::ResetInTheNameOfAClient },
];

/// The flood with this id.
pub fn flood(id: &str) -> Option<&'static Flood> {
    FLOODS.iter().find(|flood| flood.id == id)
}

/// Packets a second: 100,000 in 10 s.
const PACKETS_PER_SECOND: u32 = 10_000;

/// What came out.
pub struct Findings {
    /// The flood as it was sent.
    pub sent: Sent,
    /// Guest instructions the flood took, without those of the honest client.
    pub instructions: f64,
    /// The honest client without the flood.
    pub quiet: Honest,
    /// The honest client beside it.
    pub flooded: Honest,
    /// Heap in use around it, if the guest tells.
    pub heap: Option<Heap>,
}

/// Measures the honest client for this long without and for this long with the flood, after a first flood of the same
/// length, which fills what the guest keeps for good.
pub fn run(vm: &Vm, address: SocketAddr, flood: &Flood, duration: Duration) -> Result<Findings> {
    let with = |flood| beside_honest(vm, address, duration, flood);
    let first = || with(Some(flood)).map(drop);
    let ((quiet, flooded), heap) = Heap::around(address, first, || Ok((with(None)?, with(Some(flood))?)))?;
    let (quiet, quiet_instructions, _) = quiet;
    let (flooded, instructions, sent) = flooded;
    let instructions = instructions as f64 - quiet_instructions as f64;
    Ok(Findings { sent: sent.unwrap_or_default(), instructions, quiet, flooded, heap })
}

/// The honest client for so long, with or without a flood; and the guest's instructions meanwhile.
fn beside_honest(
    vm: &Vm,
    address: SocketAddr,
    duration: Duration,
    flood: Option<&Flood>,
) -> Result<(Honest, u64, Option<Sent>)> {
    let start = vm.counts().instructions;
    let client = honest::Client::connect(address)?;
    let victim = client.local()?;
    let begin = Instant::now();
    let (honest, sent) = thread::scope(|scope| {
        let sending = flood.map(|flood| scope.spawn(move || send(flood, address, victim, duration)));
        let honest = client.ask_for(begin, duration);
        (honest, sending.map(|sending| sending.join()))
    });
    let sent = sent.transpose().map_err(|_| crate::error("the flood's sender failed"))?.transpose()?;
    Ok((honest, vm.counts().instructions - start, sent))
}

/// Sends the flood alone, for a profile; how many packets it had.
pub fn alone(address: SocketAddr, flood: &Flood, duration: Duration) -> Result<f64> {
    let client = honest::Client::connect(address)?;
    let sent = send(flood, address, client.local()?, duration)?;
    Ok(sent.packets as f64)
}

fn send(flood: &Flood, address: SocketAddr, victim: SocketAddrV4, duration: Duration) -> Result<Sent> {
    let count = (f64::from(PACKETS_PER_SECOND) * duration.as_secs_f64()) as u32;
    sender::send(packet::Packets::new(flood.kind, address, victim), address, count, PACKETS_PER_SECOND)
}
