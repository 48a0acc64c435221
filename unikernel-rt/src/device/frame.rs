//! An Ethernet frame in memory that drivers and stack hand to each other.

use super::pool;
use alloc::{
    alloc::{Layout, handle_alloc_error},
    boxed::Box,
    vec::Vec,
};
use core::{
    fmt,
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
};

/// Free bytes before a frame, where a driver puts its own header (virtio-net: 12 bytes).
pub(crate) const HEADROOM: usize = 16;

/// The longest frame of an ordinary network: an MTU of 1500, the Ethernet header and a VLAN tag.
pub const FRAME_LEN_DEFAULT: usize = 1518;

/// An Ethernet frame, from the destination address on, without its check sequence. Dereferences to its bytes.
///
/// Its memory comes from a pool and goes back there.
pub struct Frame {
    buffer: Box<[u8]>,
    len: u32,
    /// Where in the buffer it starts: after the headroom, except for the later parts of a packet.
    start: u16,
    /// What is known, or to be done, about the checksum of the TCP or UDP packet inside.
    pub checksum: Checksum,
    /// Received: the TCP packet was merged from several. To send: the device shall cut the TCP packet into several, for
    /// which the [checksum](Self::checksum) must be [`Checksum::Partial`] and the device must
    /// [offer](super::Offloads) it.
    pub segmentation: Option<Segmentation>,
    /// A frame moves by value several times, and few have more parts: one word here instead of three.
    #[expect(clippy::box_collection, reason = "a word smaller than what clippy proposes")]
    rest: Option<Box<Vec<Frame>>>,
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

/// How a TCP packet is cut into segments, or was put together from them. Each has the headers of the whole, with its own
/// sequence number, length and checksum; FIN and PSH are on the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Bytes of TCP payload in every segment but the last, which may have fewer. Not zero in a frame to send.
    pub size: u16,
}

impl Frame {
    /// An empty frame that can be [resized](Self::resize) up to `capacity` bytes, or more.
    #[inline]
    pub fn with_capacity(capacity: usize) -> Frame {
        Frame::try_with_capacity(capacity).unwrap_or_else(|| out_of_memory(capacity))
    }

    /// The same; `None` where there is no memory for it.
    #[inline]
    pub fn try_with_capacity(capacity: usize) -> Option<Frame> {
        Some(Frame::in_buffer(pool::take(capacity + HEADROOM)?, HEADROOM, 0))
    }

    /// The frame in `buffer` that begins at `start`.
    #[inline]
    pub(crate) fn in_buffer(buffer: Box<[u8]>, start: usize, len: usize) -> Frame {
        debug_assert!(start + len <= buffer.len());
        let (len, start) = (len as u32, start as u16);
        Frame { buffer, len, start, checksum: Checksum::Plain, segmentation: None, rest: None }
    }

    /// Its buffer, of which the device may have more to say than the frame.
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "for drivers, which the workstation has none of"))]
    #[inline]
    pub(crate) fn into_buffer(self) -> Box<[u8]> {
        // There is nothing else to drop, and looking costs as much as all of this.
        let mut frame = ManuallyDrop::new(self);
        assert!(frame.rest.is_none(), "a frame to send has one part");
        core::mem::take(&mut frame.buffer)
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
        self.buffer.len() - usize::from(self.start)
    }

    /// Sets its length. What the new bytes hold is not specified: bytes of an earlier frame.
    ///
    /// # Panics
    ///
    /// `len` is more than its [capacity](Self::capacity).
    #[inline]
    pub fn resize(&mut self, len: usize) {
        assert!(len <= self.capacity(), "a frame of {len} bytes does not fit its buffer of {}", self.capacity());
        self.len = len as u32;
    }

    /// Received: where the packet goes on, when the device put it into several buffers. Empty for most. All headers are
    /// in the frame itself.
    #[inline]
    pub fn rest(&self) -> &[Frame] {
        self.rest.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Adds a part after the last one.
    pub fn append(&mut self, part: Frame) {
        self.rest.get_or_insert_default().push(part);
    }

    /// Its length and that of its [rest](Self::rest).
    #[inline]
    pub fn total_len(&self) -> usize {
        let rest: usize = self.rest().iter().map(|part| part.len()).sum();
        self.len() + rest
    }

    /// The same in one part. Copies if there are more.
    #[inline]
    pub fn into_one_part(self) -> Frame {
        if self.rest.is_none() { self } else { self.copy_to_one() }
    }

    #[cold]
    fn copy_to_one(self) -> Frame {
        let mut whole = Frame::with_capacity(self.total_len());
        whole.resize(self.total_len());
        (whole.checksum, whole.segmentation) = (self.checksum, self.segmentation);
        let mut at = 0;
        for part in core::iter::once(&self).chain(self.rest()) {
            whole[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        whole
    }

    /// The free bytes before it.
    ///
    /// # Panics
    ///
    /// It is a later part of a packet.
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "for drivers, which the workstation has none of"))]
    #[inline]
    pub(crate) fn headroom_mut(&mut self) -> &mut [u8; HEADROOM] {
        assert!(usize::from(self.start) == HEADROOM, "a later part of a packet has no headroom");
        self.buffer.first_chunk_mut().expect("every buffer begins with it")
    }

    /// The same once more, in buffers of its own.
    #[cfg(not(target_os = "none"))]
    pub(crate) fn duplicate(&self) -> Frame {
        let mut copy = Frame::from_bytes(self);
        copy.checksum = self.checksum;
        copy.segmentation = self.segmentation;
        self.rest().iter().for_each(|part| copy.append(part.duplicate()));
        copy
    }
}

#[cold]
fn out_of_memory(capacity: usize) -> ! {
    handle_alloc_error(Layout::array::<u8>(capacity).unwrap_or(Layout::new::<u8>()))
}

impl Deref for Frame {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let start = usize::from(self.start);
        &self.buffer[start..start + self.len as usize]
    }
}

impl DerefMut for Frame {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let start = usize::from(self.start);
        &mut self.buffer[start..start + self.len as usize]
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes, {:?}, {:?})", self.total_len(), self.checksum, self.segmentation)
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        let buffer = core::mem::take(&mut self.buffer);
        if !buffer.is_empty() {
            pool::put(buffer);
        }
        if let Some(rest) = self.rest.take() {
            drop_rest(rest);
        }
    }
}

/// Few frames have more parts, so the code is not where all frames pass.
#[cold]
#[inline(never)]
#[expect(clippy::box_collection, reason = "it is what a frame has")]
fn drop_rest(rest: Box<Vec<Frame>>) {
    drop(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::with_core;

    /// It moves by value through queues and rings: five words.
    #[test]
    fn it_is_small() {
        assert_eq!((size_of::<Frame>(), size_of::<Option<Frame>>()), (40, 40));
    }

    #[test]
    fn a_buffer_is_used_again() {
        for len in [60, 1518, 4000, 16_000, 65_549] {
            let mut frame = Frame::from_bytes(&vec![7; len]);
            let capacity = frame.capacity();
            frame[len - 1] = 8;
            drop(frame);
            let mut again = Frame::with_capacity(len);
            again.resize(len);
            assert_eq!((again.capacity(), again[0], again[len - 1]), (capacity, 7, 8), "{len}");
        }
    }

    #[test]
    fn the_pool_is_bounded() {
        let frames: Vec<Frame> = (0..1000).map(|_| Frame::with_capacity(40_000)).collect();
        drop(frames);
        let len = with_core(|core| core.frames.borrow().len());
        assert!((40_000 * 16..70_000 * 16).contains(&len), "{len}");
        drop(with_core(|core| core.frames.borrow_mut().empty()));
        assert_eq!(with_core(|core| core.frames.borrow().len()), 0);
    }

    #[test]
    fn parts_keep_their_order() {
        let mut frame = Frame::from_bytes(b"head");
        assert_eq!((frame.rest().len(), frame.total_len()), (0, 4));
        frame.append(Frame::from_bytes(b"one"));
        frame.append(Frame::from_bytes(b"last"));
        let parts: Vec<&[u8]> = frame.rest().iter().map(|part| &part[..]).collect();
        assert_eq!((parts, frame.total_len()), (vec![&b"one"[..], b"last"], 11));
        assert_eq!(&frame.into_one_part()[..], b"headonelast");
    }

    #[test]
    #[should_panic(expected = "a frame of 5000 bytes does not fit its buffer of 4080")]
    fn it_has_an_end() {
        Frame::with_capacity(4000).resize(5000);
    }
}
