//! An Ethernet frame in memory that drivers and stack hand to each other.

use crate::platform::with_core;
use alloc::{boxed::Box, vec, vec::Vec};
use core::{
    fmt,
    ops::{Deref, DerefMut},
};

/// Free bytes before a frame, where a driver puts its own header (virtio-net: 12 bytes).
pub(crate) const HEADROOM: usize = 16;

/// The longest frame of an ordinary network: an MTU of 1500, the Ethernet header and a VLAN tag.
pub const FRAME_LEN_DEFAULT: usize = 1518;

/// Buffers of this size are used again; it holds [`FRAME_LEN_DEFAULT`] and its headroom.
const BUFFER_LEN: usize = 1536;

/// Buffers kept for later; more than a full receive and a full transmit queue go back to the heap.
const POOLED_MAX: usize = 512;

/// An Ethernet frame, from the destination address on, without its check sequence. Dereferences to its bytes.
///
/// Its memory comes from a pool and goes back there.
pub struct Frame {
    buffer: Box<[u8]>,
    len: usize,
    /// What is known, or to be done, about the checksum of the TCP or UDP packet inside.
    pub checksum: Checksum,
    /// To send: the device shall cut the TCP packet inside into segments. It must be marked [`Checksum::Partial`], too.
    pub segmentation: Option<Segmentation>,
    /// Received: what did not fit the first buffer. Nearly always there is nothing, so it costs one pointer.
    #[expect(clippy::box_collection, reason = "frames move by value")]
    rest: Option<Box<Vec<Frame>>>,
}

/// How a device cuts a packet into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Bytes of payload in each but the last.
    pub size: u16,
}

/// The state of the checksum in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Received: not checked, so the stack must. To send: complete.
    #[default]
    Plain,
    /// Received: the device checked it, or the packet never left the host.
    Valid,
    /// To send: the device shall sum from `start` to the end and store the result `offset` bytes after
    /// `start`, where the sum of the pseudo header is now (virtio 1.2, 5.1.6.2).
    Partial {
        /// From where to sum, in bytes from the start of the frame.
        start: u16,
        /// Where the result goes, in bytes from `start`.
        offset: u16,
    },
}

impl Frame {
    /// An empty frame that can be [resized](Self::resize) up to `capacity` bytes.
    #[inline]
    pub fn with_capacity(capacity: usize) -> Frame {
        let pooled = match capacity + HEADROOM <= BUFFER_LEN {
            true => with_core(|core| core.frames.borrow_mut().take()),
            false => None,
        };
        let buffer = pooled.unwrap_or_else(|| vec![0; (capacity + HEADROOM).max(BUFFER_LEN)].into_boxed_slice());
        Frame { buffer, len: 0, checksum: Checksum::Plain, segmentation: None, rest: None }
    }

    /// A frame with these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Frame {
        let mut frame = Frame::with_capacity(bytes.len());
        frame.resize(bytes.len());
        frame.copy_from_slice(bytes);
        frame
    }

    /// How long it can become.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer.len() - HEADROOM
    }

    /// Sets its length. What the new bytes hold is not specified: bytes of an earlier frame.
    ///
    /// # Panics
    ///
    /// `len` is more than its [capacity](Self::capacity).
    #[inline]
    pub fn resize(&mut self, len: usize) {
        assert!(len <= self.capacity(), "a frame of {len} bytes does not fit its buffer of {}", self.capacity());
        self.len = len;
    }

    /// Further parts of a received packet, in order; each continues where the one before ends.
    #[inline]
    pub fn rest(&self) -> &[Frame] {
        self.rest.as_deref().map_or(&[], |rest| rest)
    }

    /// Appends a part to a received packet.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    pub(crate) fn push_part(&mut self, part: Frame) {
        self.rest.get_or_insert_default().push(part);
    }

    /// The whole buffer, headroom first, and where the frame ends in it.
    #[cfg_attr(not(target_os = "none"), allow(dead_code))]
    #[inline]
    pub(crate) fn buffer_mut(&mut self) -> (&mut [u8], usize) {
        let end = HEADROOM + self.len;
        (&mut self.buffer, end)
    }
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.buffer[HEADROOM..HEADROOM + self.len]
    }
}

impl DerefMut for Frame {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[HEADROOM..HEADROOM + self.len]
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes, {:?})", self.len, self.checksum)
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if self.buffer.len() == BUFFER_LEN {
            let buffer = core::mem::take(&mut self.buffer);
            with_core(|core| core.frames.borrow_mut().put(buffer));
        }
    }
}

/// Buffers of one core that wait to be used again.
#[derive(Default)]
pub(crate) struct FramePool(Vec<Box<[u8]>>);

impl FramePool {
    #[inline]
    fn take(&mut self) -> Option<Box<[u8]>> {
        self.0.pop()
    }

    #[inline]
    fn put(&mut self, buffer: Box<[u8]>) {
        if self.0.len() < POOLED_MAX {
            self.0.push(buffer);
        }
    }
}
