//! What `virtio-drivers` asks of the platform: pages for its rings, and physical addresses. Everything is mapped one
//! to one, so an address is its own translation.

use super::super::memory;
use core::ptr::NonNull;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// The platform.
pub(super) struct VirtioHal;

// SAFETY: pages come cleared from the boot heap and are never used twice; addresses are physical ones.
unsafe impl Hal for VirtioHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        // Address 0 is how the caller is told that there is none.
        memory::boot_pages(pages).map_or((0, NonNull::dangling()), |start| (start.as_ptr() as PhysAddr, start))
    }

    unsafe fn dma_dealloc(_: PhysAddr, _: NonNull<u8>, _: usize) -> i32 {
        // Queues live as long as the machine; one that could not be set up leaves its pages unused.
        0
    }

    unsafe fn mmio_phys_to_virt(address: PhysAddr, len: usize) -> NonNull<u8> {
        NonNull::new(memory::map_device(address..address + len as u64)).expect("registers are not at address 0")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> PhysAddr {
        buffer.as_ptr().cast::<u8>() as PhysAddr
    }

    unsafe fn unshare(_: PhysAddr, _: NonNull<[u8]>, _: BufferDirection) {}
}
