//! What a split virtqueue shares with its device (virtio 1.2, 2.7): the descriptors, the ring of what is available and the
//! ring of what was used. Who owns which descriptor is the business of the queues above.
//!
//! The device can write to all of it. Only the used ring is read back.

use super::super::memory;
use core::{
    ptr::NonNull,
    sync::atomic::{Ordering, fence},
};
use virtio_drivers::transport::Transport;

/// Descriptors of a full queue: what QEMU, Firecracker and cloud-hypervisor offer. Smaller ones are taken as they are.
const LEN_MAX: usize = 256;
const PAGE: usize = 4096;

/// The chain goes on at `next`.
pub(super) const FLAG_NEXT: u16 = 1;
/// The device writes to the buffer.
pub(super) const FLAG_WRITE: u16 = 2;
/// The buffer is a table of descriptors.
pub(super) const FLAG_INDIRECT: u16 = 4;
/// In the available ring: do not interrupt. In the used ring: no doorbell.
const FLAG_SILENT: u16 = 1;

/// Physical address, length, flags and the number of the next one, in two words: a structure would be put together elsewhere and
/// copied field by field.
#[repr(C, align(16))]
pub(super) struct Descriptor([u64; 2]);

impl Descriptor {
    #[inline(always)]
    pub(super) fn new(buffer: *const u8, len: u32, flags: u16, next: u16) -> Descriptor {
        Descriptor([memory::physical(buffer), u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48])
    }

    /// Puts it into a table.
    ///
    /// # Safety
    ///
    /// `place` is in a table of ours, and the device does not have that descriptor.
    #[inline(always)]
    pub(super) unsafe fn write(self, place: NonNull<Descriptor>) {
        let words = place.cast::<u64>();
        // SAFETY: the caller's promise.
        unsafe { words.write_volatile(self.0[0]) };
        // SAFETY: the second word of the same place.
        unsafe { words.add(1).write_volatile(self.0[1]) };
    }
}

/// What the device is done with: the first descriptor, and how many bytes it wrote. Not to be believed.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) id: u32,
    pub(super) len: u32,
}

/// Flags, index and ring, as the available and the used ring begin.
#[repr(C)]
struct Ring<T, const LEN: usize> {
    flags: u16,
    index: u16,
    entries: [T; LEN],
}

/// The device used a descriptor that it did not have, or more bytes than it had, or spoke of more than there is.
pub(super) struct Lie;

/// The rings of one queue.
pub(super) struct Rings {
    number: u16,
    mask: usize,
    descriptors: NonNull<Descriptor>,
    available: NonNull<Ring<u16, LEN_MAX>>,
    used: NonNull<Ring<Used, LEN_MAX>>,
    /// Our index in the available ring; the device sees it from [`announce`](Rings::announce) on.
    next_available: u16,
    announced: u16,
    next_used: u16,
}

/// How many descriptors the queue can have. `None` when the device has no such queue, or it is in use.
pub(super) fn len_of(transport: &mut impl Transport, number: u16) -> Option<usize> {
    let offered = transport.max_queue_size(number) as usize;
    let len = if offered.is_power_of_two() { offered.min(LEN_MAX) } else { 0 };
    (len > 0 && !transport.queue_used(number)).then_some(len)
}

/// Where the two rings begin after the descriptors, and how long all of it is. The layout of legacy devices, which suits
/// the others, too (virtio 1.2, 2.7.2).
fn layout(len: usize) -> [usize; 3] {
    let available = len * size_of::<Descriptor>();
    let used = (available + 3 * size_of::<u16>() + len * size_of::<u16>()).next_multiple_of(PAGE);
    [available, used, used + 3 * size_of::<u16>() + len * size_of::<Used>()]
}

/// How many pages a queue of `len` descriptors takes.
pub(super) fn pages(len: usize) -> usize {
    layout(len)[2].div_ceil(PAGE)
}

impl Rings {
    /// Tells the device where the queue is.
    ///
    /// # Safety
    ///
    /// `len` is what [`len_of`] said. At `start` are as many cleared [`pages`], which nobody else touches while there are
    /// these rings, or while the device is not reset.
    pub(super) unsafe fn new(transport: &mut impl Transport, number: u16, len: usize, start: NonNull<u8>) -> Rings {
        let [available, used, _] = layout(len);
        let address = memory::physical(start.as_ptr());
        transport.queue_set(number, len as u32, address, address + available as u64, address + used as u64);
        // SAFETY: both offsets lie within the caller's pages, and are aligned for the rings.
        let (available, used) = unsafe { (start.add(available).cast(), start.add(used).cast()) };
        let descriptors = start.cast();
        Rings { number, mask: len - 1, descriptors, available, used, next_available: 0, announced: 0, next_used: 0 }
    }

    /// How many descriptors there are.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.mask + 1
    }

    /// The table of descriptors, of [`len`](Self::len) entries.
    pub(super) fn descriptors(&self) -> NonNull<Descriptor> {
        self.descriptors
    }

    /// Writes a descriptor.
    ///
    /// # Safety
    ///
    /// `id` is below [`len`](Self::len). The device does not have this descriptor, and until it is done with it nobody
    /// else touches the buffer.
    #[inline(always)]
    pub(super) unsafe fn describe(&mut self, id: u16, descriptor: Descriptor) {
        // SAFETY: the caller's promise.
        unsafe { descriptor.write(self.descriptors.add(usize::from(id))) };
    }

    /// Gives the device the chain that begins at `id`. It sees it after [`announce`](Self::announce).
    #[inline(always)]
    pub(super) fn offer(&mut self, id: u16) {
        let slot = usize::from(self.next_available) & self.mask;
        // SAFETY: `slot` is below the length of the ring; the device does not read it until `announce` shows it the index.
        unsafe { (&raw mut (*self.available.as_ptr()).entries).cast::<u16>().add(slot).write_volatile(id) };
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Shows the device what was offered, and rings if it wants that.
    #[inline]
    pub(super) fn announce(&mut self, transport: &mut impl Transport) {
        if self.announced == self.next_available {
            return;
        }
        self.announced = self.next_available;
        // The device must see the entries before the index (virtio 1.2, 2.7.13.3), ...
        fence(Ordering::Release);
        // SAFETY: the index of our ring.
        unsafe { (&raw mut (*self.available.as_ptr()).index).write_volatile(self.next_available) };
        // ... and the index before we read whether it wants to be told (2.7.13.4.1).
        fence(Ordering::SeqCst);
        // SAFETY: the flags of the used ring, which the device may write at any time.
        let flags = unsafe { (&raw const (*self.used.as_ptr()).flags).read_volatile() };
        if flags & FLAG_SILENT == 0 {
            transport.notify(self.number);
        }
    }

    /// Whether the device is done with a chain.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        // SAFETY: the index of the used ring, which the device may write at any time.
        let index = unsafe { (&raw const (*self.used.as_ptr()).index).read_volatile() };
        index != self.next_used
    }

    /// The next chain the device says it is done with.
    ///
    /// # Errors
    ///
    /// It says so of more chains than it was shown.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Result<Option<Used>, Lie> {
        if !self.is_ready() {
            return Ok(None);
        }
        if self.next_used == self.announced {
            return Err(Lie);
        }
        // What the device wrote before the index must not be read before it.
        fence(Ordering::Acquire);
        let slot = usize::from(self.next_used) & self.mask;
        // SAFETY: `slot` is below the length of the ring.
        let used = unsafe { (&raw const (*self.used.as_ptr()).entries).cast::<Used>().add(slot).read_volatile() };
        self.next_used = self.next_used.wrapping_add(1);
        Ok(Some(used))
    }

    /// Asks the device to interrupt when it is done with a chain, or not to. A wish: one more may come.
    ///
    /// After asking for interrupts, look at [`is_ready`](Self::is_ready) once more: what was done before the device saw
    /// the wish comes without one.
    #[inline]
    pub(super) fn interrupt(&mut self, wanted: bool) {
        let flags = if wanted { 0 } else { FLAG_SILENT };
        // SAFETY: the flags of our ring.
        unsafe { (&raw mut (*self.available.as_ptr()).flags).write_volatile(flags) };
        if wanted {
            fence(Ordering::SeqCst);
        }
    }
}
