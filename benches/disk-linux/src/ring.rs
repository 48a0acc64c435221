//! Random reads from the whole disk by io_uring: one thread, no system call for a read of its own.
//!
//! The unsafe code is that of the interface: the kernel is handed addresses, and nothing but this file knows that they
//! stay valid.

use std::os::fd::AsRawFd;

use anyhow::{Result, ensure};
use io_uring::types::Fixed;
use io_uring::{IoUring, cqueue, opcode};

use crate::aligned::Aligned;
use crate::console::measured;
use crate::random::open_disk;
use crate::work::{BLOCK_LEN, DEPTH, Done, Offsets};

/// Reads in flight, each with a buffer of its own.
struct Reads {
    // Dropped first, and with it every read that is in flight.
    ring: IoUring,
    buffers: Vec<Aligned>,
    /// What each of them reads.
    offsets: Vec<u64>,
}

/// So many reads, [`DEPTH`] at a time.
pub fn read(count: u64) -> Result<()> {
    let (disk, len) = open_disk()?;
    let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(DEPTH as u32)?;
    ring.submitter().register_files(&[disk.as_raw_fd()])?;
    let mut reads =
        Reads { ring, buffers: (0..DEPTH).map(|_| Aligned::new(BLOCK_LEN)).collect(), offsets: vec![0; DEPTH] };
    measured(|| reads.all(Offsets::new(len, count)))?;
    Ok(())
}

impl Reads {
    fn all(&mut self, mut offsets: Offsets) -> Result<Done> {
        let (mut done, mut in_flight) = (Done::default(), 0);
        for (slot, offset) in (0..DEPTH).zip(&mut offsets) {
            self.start(slot, offset)?;
            in_flight += 1;
        }
        while in_flight > 0 {
            self.ring.submit_and_wait(1)?;
            while let Some(ended) = self.ended() {
                let slot = usize::try_from(ended.user_data())?;
                ensure!(ended.result() == BLOCK_LEN as i32, "a read ended with {}", ended.result());
                done.sum.take(self.offsets[slot], self.buffers[slot].bytes());
                done.operations += 1;
                done.bytes += BLOCK_LEN as u64;
                match offsets.next() {
                    Some(offset) => self.start(slot, offset)?,
                    None => in_flight -= 1,
                }
            }
        }
        Ok(done)
    }

    /// A read that has ended.
    fn ended(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// Queues a read into the slot's buffer, which none in flight uses.
    fn start(&mut self, slot: usize, offset: u64) -> Result<()> {
        self.offsets[slot] = offset;
        let buffer = self.buffers[slot].bytes();
        let read = opcode::Read::new(Fixed(0), buffer.as_mut_ptr(), buffer.len() as u32).offset(offset);
        let entry = read.build().user_data(slot as u64);
        // SAFETY: the buffer lives in `self.buffers`, which is dropped after the ring and never changed; nobody looks
        // at its bytes before the completion of this slot.
        unsafe { self.ring.submission().push(&entry)? };
        Ok(())
    }
}
