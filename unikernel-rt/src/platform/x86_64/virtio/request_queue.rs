//! A virtqueue of disk requests (virtio 1.2, 5.2.6): a header, buffers and a status byte each, owned by the queue while the
//! device may touch them.
//!
//! Every request has a slot, whose header, status and table of descriptors are allocated once. Where the device takes
//! indirect descriptors a slot is one descriptor of the queue, whatever the request's length; elsewhere the queue's own
//! descriptors are dealt out to the slots.

use super::{
    pages::{PAGE, Pages},
    ring::{self, Descriptor, FLAG_INDIRECT, FLAG_NEXT, FLAG_WRITE, Lie, Rings},
};
use crate::{
    device::{BlockOp, BlockRequest},
    heap,
};
use alloc::vec::Vec;
use core::{
    mem::{self, offset_of},
    ptr::NonNull,
};
use virtio_drivers::transport::Transport;

/// Requests at once: what keeps a fast disk busy.
const SLOTS_MAX: usize = 64;
/// Requests at once on the smallest machine.
const SLOTS_MIN: usize = 4;
/// The slots of one disk take at most this part of the heap.
const SLOTS_HEAP_PART: usize = 64;

/// Descriptors of a chain with a table of its own: half a megabyte of pages, and 2 KiB of table.
const CHAIN_LEN_INDIRECT: usize = 128;
/// Descriptors of a chain in the queue's table, and the fewest that leave room for data.
const CHAIN_LEN_MAX: usize = 16;
const CHAIN_LEN_MIN: usize = 4;
/// Header and status.
const CHAIN_OVERHEAD: usize = 2;

/// No device writes this status, so it was not written.
const STATUS_NONE: u8 = 0xff;
/// The last status there is: not supported.
const STATUS_MAX: u8 = 2;

/// Places on the disk are told in these units, whatever its sector is.
pub(super) const UNIT: u64 = 512;

/// The parts of a request that are not data.
#[repr(C)]
struct Slot {
    /// The kind, and the place.
    header: [u64; 2],
    /// What a discard, or zeroes, are about: the place; count and flags.
    range: [u64; 2],
    status: u8,
}

/// What is asked of the device, beside what the request says.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// `VIRTIO_BLK_T_…`
    pub(super) number: u32,
    /// Flags of the range of a discard, or of zeroes.
    pub(super) range_flags: u32,
}

/// A request that the device is done with.
pub(super) struct Done {
    pub(super) request: BlockRequest,
    /// 0, 1 or 2.
    pub(super) status: u8,
    /// It says that it wrote fewer bytes than were to be read.
    pub(super) is_short: bool,
}

/// A virtqueue and the requests in it.
pub(super) struct RequestQueue {
    rings: Rings,
    slots: NonNull<Slot>,
    /// The first slot's chain; that of the next slot is `chain_len` descriptors later.
    chains: NonNull<Descriptor>,
    chain_len: usize,
    is_indirect: bool,
    /// A slot's number times two to this is its first descriptor in the queue.
    shift: u32,
    /// What a legacy device says it wrote may be anything (virtio 1.2, 2.7.8.2).
    trusts_len: bool,
    /// The requests the device has, by slot.
    requests: Vec<Option<BlockRequest>>,
    /// Slots that no request has.
    free: Vec<u16>,
    memory: Pages,
}

/// What a queue needs to know of its device.
#[derive(Clone, Copy)]
pub(super) struct Traits {
    pub(super) is_indirect: bool,
    pub(super) is_legacy: bool,
}

impl RequestQueue {
    /// Sets the queue up. `None` when the device has none of this number, it is too short, or memory is.
    pub(super) fn new(transport: &mut impl Transport, number: u16, traits: Traits) -> Option<RequestQueue> {
        let len = ring::len_of(transport, number)?;
        // A chain is no longer than the queue, not even in a table of its own (virtio 1.2, 2.7.5.3.1).
        let chain_len = match traits.is_indirect {
            true => CHAIN_LEN_INDIRECT.min(len),
            false => (len / SLOTS_MIN).clamp(CHAIN_LEN_MIN, CHAIN_LEN_MAX),
        };
        let slots_len = if traits.is_indirect { affordable_slots().min(len) } else { len / chain_len };
        if slots_len == 0 || chain_len <= CHAIN_OVERHEAD {
            return None;
        }
        let chains_len = if traits.is_indirect { slots_len * chain_len * size_of::<Descriptor>() } else { 0 };
        let chains_at = ring::pages(len) * PAGE;
        let slots_at = chains_at + chains_len;
        let memory = Pages::zeroed(slots_at + slots_len * size_of::<Slot>())?;
        // SAFETY: the length is the one told; the memory begins with these pages and is freed after the device was reset, or
        // never: see `leak`.
        let rings = unsafe { Rings::new(transport, number, len, memory.start()) };
        // SAFETY: both offsets are within the memory, and aligned for what lies there.
        let (slots, own_chains) =
            unsafe { (memory.start().add(slots_at).cast(), memory.start().add(chains_at).cast()) };
        let mut queue = RequestQueue {
            slots,
            chains: if traits.is_indirect { own_chains } else { rings.descriptors() },
            chain_len,
            is_indirect: traits.is_indirect,
            shift: if traits.is_indirect { 0 } else { chain_len.trailing_zeros() },
            trusts_len: !traits.is_legacy,
            requests: (0..slots_len).map(|_| None).collect(),
            free: (0..slots_len as u16).rev().collect(),
            memory,
            rings,
        };
        queue.rings.interrupt(false);
        Some(queue)
    }

    /// How many requests it holds at most.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    /// How many buffers a request has at most.
    pub(super) fn segments_max(&self) -> usize {
        self.chain_len - CHAIN_OVERHEAD
    }

    /// Gives a request to the device, which sees it after [`announce`](Self::announce). Hands it back when the queue is
    /// full. It has at most [`segments_max`](Self::segments_max) buffers; a discard, or zeroes, has none.
    #[inline(always)]
    pub(super) fn push(&mut self, kind: Kind, mut request: BlockRequest) -> Result<(), BlockRequest> {
        let Some(slot) = self.free.pop() else { return Err(request) };
        let place = request.offset / UNIT;
        let parts = self.slot(slot);
        // SAFETY: a slot of ours, which the device does not have.
        unsafe { (&raw mut (*parts).header).write_volatile([kind.number.into(), place]) };
        // SAFETY: as above.
        unsafe { (&raw mut (*parts).status).write_volatile(STATUS_NONE) };
        let start = parts.cast::<u8>();
        let part = |offset: usize| start.wrapping_add(offset);
        let mut chain = self.chain(slot);
        chain.add(part(offset_of!(Slot, header)), size_of::<[u64; 2]>(), FLAG_NEXT);
        if matches!(request.op, BlockOp::Discard | BlockOp::WriteZeroes) {
            let range = [place, (request.len / UNIT) | u64::from(kind.range_flags) << 32];
            // SAFETY: as above.
            unsafe { (&raw mut (*parts).range).write_volatile(range) };
            chain.add(part(offset_of!(Slot, range)), size_of::<[u64; 2]>(), FLAG_NEXT);
        }
        let flags = if request.op == BlockOp::Read { FLAG_WRITE | FLAG_NEXT } else { FLAG_NEXT };
        // To QEMU a descriptor of no bytes is a broken driver.
        for buffer in request.buffers.iter_mut().filter(|buffer| !buffer.is_empty()) {
            chain.add(buffer.as_mut_ptr(), buffer.len(), flags);
        }
        chain.add(part(offset_of!(Slot, status)), size_of::<u8>(), FLAG_WRITE);
        self.offer(slot, chain.len);
        self.requests[usize::from(slot)] = Some(request);
        Ok(())
    }

    #[inline(always)]
    fn slot(&self, slot: u16) -> *mut Slot {
        debug_assert!(usize::from(slot) < self.requests.len());
        // SAFETY: there are as many slots as places in `requests`, and every number comes from `free`, or was looked up there.
        unsafe { self.slots.add(usize::from(slot)) }.as_ptr()
    }

    #[inline(always)]
    fn chain(&self, slot: u16) -> Chain {
        let start = usize::from(slot) * self.chain_len;
        // SAFETY: the tables have `chain_len` descriptors for every slot.
        let start_ptr = unsafe { self.chains.add(start) };
        Chain {
            start: start_ptr,
            len_max: self.chain_len,
            len: 0,
            first: if self.is_indirect { 0 } else { start as u16 },
        }
    }

    /// Puts a slot's chain into the available ring.
    #[inline(always)]
    fn offer(&mut self, slot: u16, len: usize) {
        if self.is_indirect {
            let table = self.chain(slot).start.as_ptr().cast();
            let descriptor = Descriptor::new(table, (len * size_of::<Descriptor>()) as u32, FLAG_INDIRECT, 0);
            // SAFETY: there are no more slots than descriptors. Nobody touches the chain until the device is done with it.
            unsafe { self.rings.describe(slot, descriptor) };
        }
        self.rings.offer(slot << self.shift);
    }

    /// Shows the device what was pushed, and rings if it wants that.
    #[inline]
    pub(super) fn announce(&mut self, transport: &mut impl Transport) {
        self.rings.announce(transport);
    }

    /// Whether the device is done with a request.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.rings.is_ready()
    }

    /// Asks the device to interrupt when it is done with a request, or not to; see [`Rings::interrupt`].
    #[inline]
    pub(super) fn interrupt(&mut self, wanted: bool) {
        self.rings.interrupt(wanted);
    }

    /// The next request the device is done with.
    ///
    /// # Errors
    ///
    /// The device lies. It must be reset, or the queue be [leaked](Self::leak).
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Result<Option<Done>, Lie> {
        let Some(used) = self.rings.pop()? else { return Ok(None) };
        let id = u16::try_from(used.id).map_err(|_| Lie)?;
        let slot = id >> self.shift;
        let place = self.requests.get_mut(usize::from(slot)).filter(|_| slot << self.shift == id).ok_or(Lie)?;
        let request = place.as_ref().ok_or(Lie)?;
        let data_len = if request.op == BlockOp::Read { request.len } else { 0 };
        let written_len = u64::from(used.len);
        // SAFETY: a field of the slot, which the device may write at any time.
        let status = unsafe { (&raw const (*self.slot(slot)).status).read_volatile() };
        if status > STATUS_MAX || (self.trusts_len && written_len > data_len + 1) {
            return Err(Lie);
        }
        let request = self.requests[usize::from(slot)].take().ok_or(Lie)?;
        // There is a place for every slot, so this never allocates.
        self.free.push(slot);
        let is_short = self.trusts_len && written_len < data_len;
        Ok(Some(Done { request, status, is_short }))
    }

    /// Takes back the requests that the device will not answer. It was reset.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = BlockRequest> + '_ {
        self.requests.iter_mut().filter_map(Option::take)
    }

    /// Leaves everything the device may still touch to it, for ever: it cannot be reset.
    pub(super) fn leak(&mut self) {
        self.memory.leak();
        for request in self.requests.iter_mut().flatten() {
            mem::forget(mem::take(&mut request.buffers));
        }
    }
}

/// A chain that is being written.
struct Chain {
    start: NonNull<Descriptor>,
    len_max: usize,
    len: usize,
    /// The number of its first descriptor in its table.
    first: u16,
}

impl Chain {
    #[inline(always)]
    fn add(&mut self, buffer: *const u8, len: usize, flags: u16) {
        assert!(self.len < self.len_max, "a request has more buffers than the disk takes");
        let next = self.first.wrapping_add(self.len as u16 + 1);
        // SAFETY: within the chain's descriptors, as checked; the device does not have them.
        unsafe { Descriptor::new(buffer, len as u32, flags, next).write(self.start.add(self.len)) };
        self.len += 1;
    }
}

fn affordable_slots() -> usize {
    let len = size_of::<Slot>() + CHAIN_LEN_INDIRECT * size_of::<Descriptor>();
    (heap::stats().total / SLOTS_HEAP_PART / len).clamp(SLOTS_MIN, SLOTS_MAX)
}
