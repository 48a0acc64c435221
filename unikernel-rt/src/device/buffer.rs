//! Memory that disks read into and write from.

use crate::platform::with_core;
use alloc::{
    alloc::{Layout, handle_alloc_error},
    boxed::Box,
    vec::Vec,
};
use core::{
    fmt,
    ops::{Deref, DerefMut},
};

/// Lengths in bytes, and how many of each wait to be used again: pages, and what is read ahead at once.
const CLASSES: [(usize, usize); 4] = [(4 * 1024, 128), (16 * 1024, 16), (64 * 1024, 16), (128 * 1024, 16)];

/// Bytes that move by value between a device and whoever uses it. Dereferences to its bytes.
///
/// Its memory comes from a pool and goes back there: clearing 128 KiB costs more than reading them.
pub struct Buffer {
    memory: Box<[u8]>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` bytes. What they hold is not specified: bytes of an earlier buffer.
    pub fn new(len: usize) -> Buffer {
        Buffer::try_new(len).unwrap_or_else(|| out_of_memory(len))
    }

    /// The same; `None` where there is no memory for it.
    pub fn try_new(len: usize) -> Option<Buffer> {
        let memory = with_core(|core| core.buffers.borrow_mut().take(len)).or_else(|| allocate(len))?;
        Some(Buffer { memory, len })
    }

    /// A buffer of `len` zeros.
    pub fn zeroed(len: usize) -> Buffer {
        let mut buffer = Buffer::new(len);
        buffer.fill(0);
        buffer
    }

    /// A buffer with these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::new(bytes.len());
        buffer.copy_from_slice(bytes);
        buffer
    }

    /// Keeps the first `len` bytes.
    ///
    /// # Panics
    ///
    /// It has fewer.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len, "a buffer of {} bytes does not become {len} bytes long", self.len);
        self.len = len;
    }
}

#[cold]
fn out_of_memory(len: usize) -> ! {
    handle_alloc_error(Layout::array::<u8>(len).unwrap_or(Layout::new::<u8>()))
}

#[cold]
fn allocate(len: usize) -> Option<Box<[u8]>> {
    let len = class_of(len).map_or(len, |class| CLASSES[class].0);
    let mut memory = Vec::new();
    memory.try_reserve_exact(len).ok()?;
    memory.resize(len, 0);
    Some(memory.into_boxed_slice())
}

/// The smallest class that holds `len` bytes.
fn class_of(len: usize) -> Option<usize> {
    CLASSES.iter().position(|(size, _)| len <= *size)
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..self.len]
    }
}

/// What shared ownership of a buffer asks for.
impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = core::mem::take(&mut self.memory);
        if !memory.is_empty() {
            with_core(|core| core.buffers.borrow_mut().put(memory));
        }
    }
}

/// The buffers of one core that wait.
#[derive(Default)]
pub(crate) struct BufferPool([Vec<Box<[u8]>>; CLASSES.len()]);

impl BufferPool {
    fn take(&mut self, len: usize) -> Option<Box<[u8]>> {
        self.0[class_of(len)?].pop()
    }

    fn put(&mut self, memory: Box<[u8]>) {
        let class = CLASSES.iter().position(|(size, _)| memory.len() == *size);
        let Some(class) = class.filter(|class| self.0[*class].len() < CLASSES[*class].1) else { return };
        let waiting = &mut self.0[class];
        // Where memory for the list is short, the buffer itself is what the heap needs.
        if waiting.try_reserve(1).is_ok() {
            waiting.push(memory);
        }
    }

    /// Bytes in it.
    #[cfg_attr(
        not(target_os = "none"),
        allow(dead_code, reason = "for the heap, which the workstation has its own of")
    )]
    pub(crate) fn len(&self) -> usize {
        self.0.iter().zip(CLASSES).map(|(waiting, (size, _))| waiting.len() * size).sum()
    }

    /// All that waits, to be given back to the heap.
    #[cfg_attr(
        not(target_os = "none"),
        allow(dead_code, reason = "for the heap, which the workstation has its own of")
    )]
    pub(crate) fn empty(&mut self) -> BufferPool {
        core::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again() {
        for len in [1, 512, 4096, 10_000, 131_072] {
            let mut buffer = Buffer::new(len);
            buffer[len - 1] = 9;
            drop(buffer);
            assert_eq!(Buffer::new(len)[len - 1], 9, "{len}");
            assert!(Buffer::zeroed(len).iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn the_pool_is_bounded() {
        let buffers: Vec<Buffer> = (0..100).map(|_| Buffer::new(128 * 1024)).collect();
        drop(buffers);
        assert_eq!(with_core(|core| core.buffers.borrow().len()), 16 * 128 * 1024);
        drop(with_core(|core| core.buffers.borrow_mut().empty()));
        assert_eq!(with_core(|core| core.buffers.borrow().len()), 0);
    }

    #[test]
    #[should_panic(expected = "a buffer of 10 bytes does not become 11 bytes long")]
    fn it_does_not_grow() {
        Buffer::new(10).truncate(11);
    }
}
