//! Simulated parts for tests: cables and hubs with faults, network cards with abilities, disks that lose power. Everything in it follows virtual time and a seed, so a test
//! that failed once fails again.
//!
//! ```
//! use unikernel_rt::{device::{Frame, NetDevice}, sim::{Faults, cable}, time::{Duration, Instant}};
//! use std::future::poll_fn;
//!
//! unikernel_rt::sim::run("", async {
//!     let (mut left, mut right) = cable(Faults { delay: Duration::from_millis(20), ..Faults::NONE });
//!     left.transmit(Frame::from_bytes(b"some Ethernet frame")).unwrap();
//!     poll_fn(|cx| right.poll_ready(cx)).await;
//!     assert_eq!(&right.receive().unwrap()[..], b"some Ethernet frame");
//!     assert_eq!(Instant::now(), Instant::from_millis(20));
//! });
//! ```

mod cable;
mod disk;
mod file_disk;
mod nic;
mod pcap;
mod random;
mod tcp;

pub use cable::{Faults, SimPort, cable, hub};
pub use disk::{Behaviour, Counts, Recording, SimDisk, Survivors};
pub use file_disk::FileDisk;
pub use nic::{MERGE_HEADER_LEN, Nic};
pub use pcap::Pcap;
pub use random::Random;

use core::future::Future;

/// Runs `future` as the only program of a machine in virtual time, with `args` as its command line. What
/// `#[unikernel_rt::test]` does.
///
/// # Panics
///
/// Every task waits and no timer runs.
pub fn run<F>(args: &str, future: F) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    crate::platform::block_on(args, future)
}

/// Makes the machine a copy of what it was, as if it had been started from a snapshot: see
/// [`entropy::generation`](crate::entropy::generation).
pub fn set_vm_generation(id: [u64; 2]) {
    crate::platform::set_vm_generation(id);
}

/// Makes [`heap::free`](crate::heap::free) return this until it is called again or this machine ends, so that a test sees
/// what happens when memory is low. Allocating goes on as before.
pub fn set_heap_free(len: usize) {
    crate::platform::set_heap_free(len);
}
