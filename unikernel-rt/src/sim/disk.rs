//! A disk in memory that can be slow, wrong, torn and gone.

mod device;
mod image;
mod record;

pub use record::{Recording, Survivors};

use crate::{
    device::{BlockDevice, BlockError, BlockInfo, BlockOp},
    sim::Random,
    time::Duration,
};
use core::{cell::RefCell, ops::Range};
use image::Image;
use record::Event;
use std::{boxed::Box, rc::Rc, string::String, vec, vec::Vec};

/// A simulated disk: the test keeps this handle, the machine gets [`device`](SimDisk::device). Clones are the same disk.
/// Its memory is sparse: zeros take no place.
///
/// ```
/// use unikernel_rt::sim::{SimDisk, Survivors};
///
/// let disk = SimDisk::new(1 << 20);
/// disk.poke(4096, b"hello");
/// assert_eq!(disk.peek(4096, 5), b"hello");
///
/// // What a program writes between these two can be looked at after every loss of power there could have been.
/// disk.record();
/// let recording = disk.end_recording();
/// for count in 0..=recording.len() {
///     let found = recording.cut(count, Survivors::None);
///     assert_eq!(found.peek(4096, 5), b"hello");
/// }
/// ```
#[derive(Clone)]
pub struct SimDisk(Rc<RefCell<State>>);

pub(super) struct State {
    info: BlockInfo,
    image: Image,
    behaviour: Behaviour,
    random: Random,
    faults: Vec<Fault>,
    is_gone: bool,
    /// Writes and flushes since the recording began, with the image at its start.
    record: Option<(Image, Vec<Event>)>,
    counts: Counts,
}

/// How a simulated disk works.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// How long a request takes.
    pub delay: Duration,
    /// Each request takes between one and three times the delay, so they overtake one another.
    pub reorders: bool,
    /// What chance depends on.
    pub seed: u64,
}

impl Behaviour {
    /// Every request is done at once.
    pub const PROMPT: Behaviour = Behaviour { delay: Duration::ZERO, reorders: false, seed: 0 };
}

/// A fault that waits for its request.
struct Fault {
    op: BlockOp,
    range: Range<u64>,
    error: BlockError,
    times: usize,
}

/// Requests that were executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Bytes that were read.
    pub read_len: u64,
    /// Writes, with writing of zeroes and discards.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
}

impl SimDisk {
    /// A disk of `len` zeros, a multiple of 512.
    pub fn new(len: u64) -> SimDisk {
        SimDisk::with(len, 512, Behaviour::PROMPT)
    }

    /// A disk of `len` zeros with this sector length and behaviour.
    ///
    /// # Panics
    ///
    /// `len` is not a multiple of the sector length, or that is none of 512 and 4096.
    pub fn with(len: u64, sector_len: usize, behaviour: Behaviour) -> SimDisk {
        assert!(matches!(sector_len, 512 | 4096), "sectors have 512 or 4096 bytes");
        assert!(len.is_multiple_of(sector_len as u64), "{len} bytes are not whole sectors");
        let info = BlockInfo {
            serial: String::new(),
            sector_len,
            len,
            physical_sector_len: 4096,
            is_read_only: false,
            has_volatile_cache: true,
            discard_len_max: 1 << 30,
            write_zeroes_len_max: 1 << 30,
            segments_max: 126,
            segment_len_max: 1 << 20,
            queue_len: 64,
        };
        SimDisk::of(info, Image::default(), behaviour)
    }

    /// A disk with these bytes, and zeros up to the next multiple of 4096.
    pub fn from_bytes(bytes: &[u8]) -> SimDisk {
        let disk = SimDisk::new((bytes.len() as u64).next_multiple_of(4096));
        disk.poke(0, bytes);
        disk
    }

    fn of(info: BlockInfo, image: Image, behaviour: Behaviour) -> SimDisk {
        let random = Random::new(behaviour.seed);
        let (faults, counts) = (Vec::new(), Counts::default());
        SimDisk(Rc::new(RefCell::new(State {
            info,
            image,
            behaviour,
            random,
            faults,
            is_gone: false,
            record: None,
            counts,
        })))
    }

    /// Changes what the disk says of itself; to be called before [`device`](Self::device).
    pub fn configure(&self, change: impl FnOnce(&mut BlockInfo)) {
        change(&mut self.0.borrow_mut().info);
    }

    /// The disk to give to a machine. Several may be made of one, one after the other: the machine is started again.
    pub fn device(&self) -> Box<dyn BlockDevice> {
        Box::new(device::Device::new(self.0.clone()))
    }

    /// The size in bytes.
    pub fn len(&self) -> u64 {
        self.0.borrow().info.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the disk, past all caches and faults.
    pub fn peek(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.borrow().image.read(offset, &mut bytes);
        bytes
    }

    /// Changes bytes of the disk, past everything: damage, or an image.
    pub fn poke(&self, offset: u64, bytes: &[u8]) {
        self.0.borrow_mut().image.write(offset, bytes);
    }

    /// The next `times` requests of this kind that touch `range` fail. A failed write may have written a part.
    pub fn fail(&self, op: BlockOp, range: Range<u64>, error: BlockError, times: usize) {
        self.0.borrow_mut().faults.push(Fault { op, range, error, times });
    }

    /// Takes the disk away: every request fails from now on.
    pub fn remove(&self) {
        self.0.borrow_mut().is_gone = true;
    }

    /// Requests that were executed since the disk was made.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts
    }

    /// Begins to record writes and flushes, from the disk as it is now.
    pub fn record(&self) {
        let mut state = self.0.borrow_mut();
        state.record = Some((state.image.clone(), Vec::new()));
    }

    /// Writes and flushes recorded so far.
    pub fn recorded(&self) -> usize {
        self.0.borrow().record.as_ref().map_or(0, |(_, events)| events.len())
    }

    /// Ends the recording: from it come the disks that a loss of power may leave behind.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn end_recording(&self) -> Recording {
        let mut state = self.0.borrow_mut();
        let (start, events) = state.record.take().expect("`record` was called before");
        Recording::new(state.info.clone(), start, events)
    }
}
