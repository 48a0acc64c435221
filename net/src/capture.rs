//! Frames as the ports see them, for somebody who looks: [`Capture`]. While nobody does, a frame costs one comparison.

mod fields;

pub use fields::Protocol;

use crate::{limits::CAPTURE_MEMORY_MAX, stack::Shared};
use alloc::{collections::VecDeque, rc::Rc, vec::Vec};
use core::{
    cell::RefCell,
    fmt,
    net::IpAddr,
    task::{Context, Poll, Waker},
};
use fields::Fields;
use unikernel_rt::{device::Frame, task::wait_for, time::Instant};

/// Which frames are wanted; all, by default. What has several conditions must meet each.
///
/// See [`Capture`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From or to this address.
    pub host: Option<IpAddr>,
    /// From or to this port of TCP or UDP.
    pub port: Option<u16>,
    /// Of this protocol.
    pub protocol: Option<Protocol>,
    /// Not from or to this port of TCP or UDP: who sends what it captures on must not capture that, nor what others of its kind
    /// send.
    pub except_port: Option<u16>,
}

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It was received.
    In,
    /// It was handed to the port. The port completes checksums, and may cut it into several.
    Out,
}

/// A frame that was seen.
#[derive(Clone, Debug)]
pub struct Captured {
    /// When.
    pub at: Instant,
    /// Which way.
    pub direction: Direction,
    /// The number of its port.
    pub interface: usize,
    /// Its length.
    pub len: usize,
    /// Its bytes, or the first of them.
    pub bytes: Vec<u8>,
}

/// Frames that pass the ports, from now on until it is dropped: see [`Stack::capture`](crate::Stack::capture).
///
/// Up to [`CAPTURE_MEMORY_MAX`] bytes wait to be read; further frames are [counted](Self::dropped), not kept.
///
/// The handshake of a connection, with the headers alone:
///
/// ```
/// # unikernel_rt::sim::run("", async {
/// use unikernel_net::{Direction, Filter, Protocol};
///
#[doc = include_str!("pair.md")]
/// # let _listener = server.listen(7)?;
/// let filter = Filter { protocol: Some(Protocol::Tcp), port: Some(7), ..Filter::default() };
/// let mut capture = client.capture(filter, 54);
/// let _stream = client.connect("10.0.0.2:7".parse()?).await?;
///
/// let (syn, syn_ack) = (capture.try_next().unwrap(), capture.try_next().unwrap());
/// assert_eq!((syn.direction, syn_ack.direction), (Direction::Out, Direction::In));
/// assert_eq!(syn.bytes.len(), 54, "no more than was asked for of each");
/// assert_eq!(syn.bytes[47] & 0x3f, 0x02, "the flag SYN");
/// # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
/// ```
pub struct Capture {
    tap: Tap,
    shared: Rc<Shared>,
}

/// What a capture and the ports share.
pub(crate) type Tap = Rc<RefCell<Ring>>;

/// Who looks at the frames of one port.
#[derive(Default)]
pub(crate) struct Taps {
    taps: Vec<Tap>,
    /// The number of the port.
    interface: usize,
}

impl Taps {
    /// A frame passes; nearly always nobody looks.
    #[inline(always)]
    pub(crate) fn note(&self, frame: &Frame, direction: Direction) {
        if !self.taps.is_empty() {
            self.show(frame, direction);
        }
    }

    #[cold]
    fn show(&self, frame: &Frame, direction: Direction) {
        self.taps.iter().for_each(|tap| tap.borrow_mut().note(frame, direction, self.interface));
    }

    pub(crate) fn add(&mut self, interface: usize, tap: &Tap) {
        self.interface = interface;
        self.taps.push(tap.clone());
    }

    pub(crate) fn remove(&mut self, tap: &Tap) {
        self.taps.retain(|known| !Rc::ptr_eq(known, tap));
    }
}

pub(crate) struct Ring {
    filter: Filter,
    snap_len: usize,
    clock: fn() -> Instant,
    frames: VecDeque<Captured>,
    memory: usize,
    seen: u64,
    dropped: u64,
    reader: Option<Waker>,
}

impl Ring {
    /// `clock` tells when a frame is seen: it is read only while somebody looks.
    pub(crate) fn new(filter: Filter, snap_len: usize, clock: fn() -> Instant) -> Ring {
        let frames = VecDeque::new();
        Ring { filter, snap_len, clock, frames, memory: 0, seen: 0, dropped: 0, reader: None }
    }

    fn note(&mut self, frame: &Frame, direction: Direction, interface: usize) {
        if !Fields::of(frame).fits(&self.filter) {
            return;
        }
        self.seen += 1;
        let len = frame.total_len();
        let kept_len = len.min(self.snap_len);
        let memory = kept_len + size_of::<Captured>();
        let mut bytes = Vec::new();
        let no_room = self.memory + memory > CAPTURE_MEMORY_MAX;
        if no_room || bytes.try_reserve_exact(kept_len).is_err() || self.frames.try_reserve(1).is_err() {
            self.dropped += 1;
            return;
        }
        for part in core::iter::once(frame).chain(frame.rest()) {
            let room = kept_len - bytes.len();
            bytes.extend_from_slice(&part[..part.len().min(room)]);
        }
        self.memory += memory;
        self.frames.push_back(Captured { at: (self.clock)(), direction, interface, len, bytes });
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn pop(&mut self) -> Option<Captured> {
        let frame = self.frames.pop_front()?;
        self.memory -= frame.bytes.len() + size_of::<Captured>();
        Some(frame)
    }
}

impl Capture {
    pub(crate) fn start(shared: &Rc<Shared>, filter: Filter, snap_len: usize) -> Capture {
        let tap = Rc::new(RefCell::new(Ring::new(filter, snap_len, Instant::now)));
        shared.net.borrow_mut().add_tap(&tap);
        Capture { tap, shared: shared.clone() }
    }

    /// The oldest frame that was not read yet; `None` when there is no other yet.
    pub fn try_next(&mut self) -> Option<Captured> {
        self.tap.borrow_mut().pop()
    }

    /// The same; wakes the task when there is one. Cancel safe.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Captured> {
        let mut ring = self.tap.borrow_mut();
        if let Some(frame) = ring.pop() {
            return Poll::Ready(frame);
        }
        ring.reader = Some(cx.waker().clone());
        wait_for("a frame to capture");
        Poll::Pending
    }

    /// How many frames passed the filter.
    pub fn seen(&self) -> u64 {
        self.tap.borrow().seen
    }

    /// How many of them were not kept, because the reader was too slow.
    pub fn dropped(&self) -> u64 {
        self.tap.borrow().dropped
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.net.borrow_mut().remove_tap(&self.tap);
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = self.tap.borrow();
        f.debug_struct("Capture").field("seen", &ring.seen).field("dropped", &ring.dropped).finish_non_exhaustive()
    }
}
