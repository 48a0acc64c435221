//! The disk driver against its device.

use super::{
    super::{super::interrupts::Irq, block::VirtioBlock},
    Outcome,
    acts::byte_of,
    device::{Device, Fake, VERSION_1},
    kept::{Kept, check_freed},
    lies::Lie,
    random::Random,
};
use crate::device::{BlockCompletion, BlockDevice, BlockError, BlockOp, BlockRequest, Buffer};
use alloc::vec::Vec;
use core::task::{Context, Waker};

const BLK_SIZE: u64 = 1 << 6;
const SIZE_MAX: u64 = 1 << 1;
const READ_ONLY: u64 = 1 << 5;
const INDIRECT: u64 = 1 << 28;
const TURNS_MAX: usize = 48;
const CONFIG_LEN: usize = 60;
const CAPACITY: u64 = 1 << 11;

/// Decides what the device is.
pub(super) fn plan(device: &mut Device) {
    let random = &mut device.random;
    device.offers = random.next() | random.pick(&[0, VERSION_1, VERSION_1 | INDIRECT]);
    if !random.once_in(8) {
        device.offers &= !READ_ONLY;
    }
    device.queue_len = random.pick(&[4, 8, 64, 256, 1024]);
    device.config.resize(CONFIG_LEN, 0);
    random.fill(&mut device.config);
    let sector = random.pick(&[512_u32, 4096]);
    put(&mut device.config, 0, &CAPACITY.to_le_bytes());
    put(&mut device.config, 8, &random.pick(&[4096, 8192, 65_536, u32::MAX]).to_le_bytes());
    put(&mut device.config, 12, &random.pick(&[0, 1, 4, 126, u32::MAX]).to_le_bytes());
    put(&mut device.config, 20, &sector.to_le_bytes());
    match device.lie {
        Some(Lie::TakesBack | Lie::TooLong | Lie::FarTooLong | Lie::TooShort) => device.offers |= VERSION_1,
        Some(Lie::BadConfig) => bad_config(device),
        Some(Lie::Restless) => {}
        _ => device.changes.set(device.random.below(20) as u32),
    }
}

fn bad_config(device: &mut Device) {
    device.offers |= BLK_SIZE | SIZE_MAX;
    match device.random.below(4) {
        0 => put(&mut device.config, 0, &device.random.pick(&[u64::MAX, 1 << 54, 1 << 63]).to_le_bytes()),
        1 => put(&mut device.config, 8, &device.random.pick(&[0_u32, 1, 511]).to_le_bytes()),
        2 => put(&mut device.config, 20, &device.random.pick(&[0_u32, 1, 513, 65_536, u32::MAX]).to_le_bytes()),
        _ => device.config.truncate(device.random.below(24)),
    }
    device.count();
}

fn put(config: &mut [u8], at: usize, bytes: &[u8]) {
    config[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The driver, and what it owes us.
struct Trial<'a> {
    disk: VirtioBlock<Fake>,
    fake: &'a Fake,
    random: Random,
    /// Tags of the requests under way, and how many buffers they had.
    waiting: Vec<(u64, usize)>,
    next_tag: u64,
    kept: Kept<Buffer>,
    /// A request failed as no medium lets it fail.
    has_failed: bool,
}

pub(super) fn round(fake: &Fake, irq: Irq) -> Outcome {
    let Ok(disk) = VirtioBlock::new(fake.clone(), irq.clone()) else {
        check_freed(&mut fake.0.borrow_mut());
        return Outcome::Noticed;
    };
    let random = Random::new(fake.0.borrow_mut().random.next(), 0);
    let (waiting, kept) = (Vec::new(), Kept::new());
    let mut trial = Trial { disk, fake, random, waiting, next_tag: 0, kept, has_failed: false };
    for turn in 0..8 + trial.random.below(TURNS_MAX) {
        trial.step();
        match trial.random.below(4) {
            0 => fake.0.borrow_mut().turn(),
            1 => fake.0.borrow_mut().scribble_all(),
            2 => irq.come(),
            _ => {}
        }
        if turn % 8 == 0 {
            trial.kept.check(&fake.0.borrow());
        }
    }
    trial.finish()
}

impl Trial<'_> {
    fn step(&mut self) {
        match self.random.below(6) {
            0 | 1 => (0..self.random.below(12)).for_each(|_| self.submit()),
            2 => self.disk.kick(),
            3 | 4 => (0..self.random.below(12)).for_each(|_| {
                self.complete();
            }),
            _ => drop(self.disk.poll_ready(&mut Context::from_waker(Waker::noop()))),
        }
    }

    fn submit(&mut self) {
        let info = self.disk.info().clone();
        let sectors = (info.len / info.sector_len as u64) as usize;
        let first = self.random.below(sectors);
        let mut ops = [BlockOp::Read, BlockOp::Write, BlockOp::Read].to_vec();
        ops.extend(info.has_volatile_cache.then_some(BlockOp::Flush));
        ops.extend((info.discard_len_max > 0).then_some(BlockOp::Discard));
        ops.extend((info.write_zeroes_len_max > 0).then_some(BlockOp::WriteZeroes));
        let op = self.random.pick(&ops);
        let (mut len, mut buffers) = (0, Vec::new());
        if matches!(op, BlockOp::Read | BlockOp::Write) {
            let most = (sectors - first).min(info.segments_max).min(4);
            for _ in 0..1 + self.random.below(most) {
                buffers.push(Buffer::zeroed(info.sector_len));
                len += info.sector_len as u64;
            }
        } else if op != BlockOp::Flush {
            len = info.sector_len as u64;
        }
        let offset = if op == BlockOp::Flush { 0 } else { (first * info.sector_len) as u64 };
        let (tag, count) = (self.next_tag, buffers.len());
        self.next_tag += 1;
        if self.disk.submit(BlockRequest { tag, op, offset, len, buffers }).is_ok() {
            self.waiting.push((tag, count));
        }
    }

    /// Takes a completion; false if there is none. It is of a request that is under way, with its buffers.
    fn complete(&mut self) -> bool {
        let Some(BlockCompletion { request, result }) = self.disk.complete() else { return false };
        let at = self.waiting.iter().position(|(tag, _)| *tag == request.tag);
        let (_, count) = self.waiting.swap_remove(at.expect("a request comes back once"));
        let device = self.fake.0.borrow();
        // What a device that does not reset had stays with it.
        let may_miss = result == Err(BlockError::Gone) && device.lie == Some(Lie::KeepsMemory);
        assert!(request.buffers.len() == count || may_miss, "a request lost its buffers");
        self.has_failed |= result.is_err();
        if device.lie.is_none() && result.is_ok() && request.op == BlockOp::Read {
            let byte = byte_of(request.offset / 512);
            assert!(request.buffers.iter().flat_map(|buffer| buffer.iter()).all(|read| *read == byte), "wrong bytes");
        }
        drop(device);
        request.buffers.into_iter().for_each(|buffer| self.kept.keep(buffer, &mut self.random));
        true
    }

    /// All that an honest disk has, or a broken one had, comes back.
    fn finish(mut self) -> Outcome {
        let is_honest = self.fake.0.borrow().lie.is_none();
        while self.complete() || (is_honest && !self.waiting.is_empty()) {
            self.disk.kick();
            self.fake.0.borrow_mut().turn();
        }
        let is_broken = self.disk.is_broken();
        assert!(!is_broken || self.waiting.is_empty(), "{} requests did not come back", self.waiting.len());
        self.kept.check(&self.fake.0.borrow());
        drop(self.disk);
        check_freed(&mut self.fake.0.borrow_mut());
        self.kept.check(&self.fake.0.borrow());
        let is_short = self.has_failed && self.fake.0.borrow().lie == Some(Lie::TooShort);
        if is_broken || is_short { Outcome::Noticed } else { Outcome::Fine }
    }
}
