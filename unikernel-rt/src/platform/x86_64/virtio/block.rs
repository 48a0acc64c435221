//! The block device (virtio 1.2, 5.2): an asynchronous driver.
//!
//! Requests are owned by the driver while the device may touch their buffers. A device that breaks the rules is reset, and
//! what it had comes back as [`BlockError::Gone`]; if it does not let itself be reset, the buffers are left to it for ever,
//! and the requests come back without them. Interrupts as on the network: only before somebody sleeps.

mod setup;

use super::{
    super::{clock::now_micros, interrupts::Irq},
    device,
    request_queue::{Kind, RequestQueue, Traits},
    ring::Lie,
};
use crate::{
    Result,
    device::{BlockCompletion, BlockDevice, BlockError, BlockInfo, BlockOp, BlockRequest, Buffer},
};
use alloc::{collections::VecDeque, string::String, vec};
use core::{
    mem,
    task::{Context, Poll},
};
use setup::{Features, problem};
use virtio_drivers::transport::{DeviceStatus, Transport};

const QUEUE: u16 = 0;

/// `VIRTIO_BLK_T_…` (virtio 1.2, 5.2.6).
mod kind {
    pub(super) const IN: u32 = 0;
    pub(super) const OUT: u32 = 1;
    pub(super) const FLUSH: u32 = 4;
    pub(super) const GET_ID: u32 = 8;
    pub(super) const DISCARD: u32 = 11;
    pub(super) const WRITE_ZEROES: u32 = 13;
}

/// The device may give the place of zeroes back.
const RANGE_UNMAP: u32 = 1;

const STATUS_OK: u8 = 0;
const STATUS_UNSUPPORTED: u8 = 2;

/// A serial is as long as this, or ends with a NUL before.
const SERIAL_LEN_MAX: usize = 20;

/// A disk.
pub(super) struct VirtioBlock<T: Transport> {
    transport: T,
    queue: RequestQueue,
    irq: Irq,
    info: BlockInfo,
    /// Zeroes may give their place back.
    zeroes_unmap: bool,
    /// Requests that need no device to be done: it offers nothing for them, or it is gone.
    settled: VecDeque<BlockCompletion>,
    /// Whether the queue interrupts.
    armed: bool,
    /// Somebody waits for an interrupt.
    awaited: bool,
    /// The device broke the rules; it is left alone from then on.
    broken: bool,
}

impl<T: Transport> VirtioBlock<T> {
    /// Sets the device up and asks for its serial.
    ///
    /// # Errors
    ///
    /// The queue is missing, memory is short, the configuration makes no sense, or the device does not answer.
    pub(super) fn new(mut transport: T, irq: Irq) -> Result<VirtioBlock<T>> {
        let features = setup::negotiate(&mut transport)?;
        let traits = Traits {
            is_indirect: features.contains(Features::INDIRECT_DESC),
            is_legacy: !features.contains(Features::VERSION_1),
        };
        let mut queue = RequestQueue::new(&mut transport, QUEUE, traits).ok_or_else(|| {
            problem("its queue could not be set up: check its size (a power of two, 4 or more), or give the machine more memory with -m".into())
        })?;
        let (info, zeroes_unmap) = match features.info(&transport, &queue) {
            Ok(info) => info,
            Err(error) => {
                stop(&mut transport, &mut queue);
                return Err(error);
            }
        };
        transport.finish_init();
        let settled = VecDeque::new();
        let (armed, awaited, broken) = (false, false, false);
        let mut device = VirtioBlock { transport, queue, irq, info, zeroes_unmap, settled, armed, awaited, broken };
        device.info.serial = device.ask_serial()?;
        Ok(device)
    }

    /// The name the host gave it; empty where it has none, or does not know the question.
    fn ask_serial(&mut self) -> Result<String> {
        let silent = || problem("it does not answer; look at the host".into());
        let len = SERIAL_LEN_MAX as u64;
        let buffers = vec![Buffer::zeroed(SERIAL_LEN_MAX)];
        let request = BlockRequest { tag: 0, op: BlockOp::Read, offset: 0, len, buffers };
        self.queue.push(Kind { number: kind::GET_ID, range_flags: 0 }, request).map_err(|_| silent())?;
        self.kick();
        let deadline = device::deadline(device::PATIENCE_MICROS);
        while !self.queue.is_ready() {
            if now_micros() > deadline {
                return Err(silent());
            }
        }
        // Fewer bytes than there is room for are a short name.
        match self.queue.pop() {
            Ok(Some(done)) if done.status == STATUS_OK => Ok(setup::serial(&done.request.buffers[0])),
            Ok(Some(_)) => Ok(String::new()),
            _ => Err(problem("it broke the rules when it was asked for its serial".into())),
        }
    }

    /// What to ask of the device; else how it went where there is nothing to ask.
    fn kind(&self, request: &BlockRequest) -> Result<Kind, Result<(), BlockError>> {
        let mut range_flags = 0;
        let number = match request.op {
            _ if self.broken => return Err(Err(BlockError::Gone)),
            BlockOp::Read => kind::IN,
            _ if self.info.is_read_only => return Err(Err(BlockError::Unsupported)),
            BlockOp::Write => kind::OUT,
            BlockOp::Flush => kind::FLUSH,
            _ if request.len == 0 => return Err(Ok(())),
            BlockOp::Discard => kind::DISCARD,
            BlockOp::WriteZeroes => {
                range_flags = if self.zeroes_unmap { RANGE_UNMAP } else { 0 };
                kind::WRITE_ZEROES
            }
        };
        Ok(Kind { number, range_flags })
    }

    /// The next request the device is done with.
    #[inline(always)]
    fn next_done(&mut self) -> Result<Option<BlockCompletion>, Lie> {
        let Some(done) = self.queue.pop()? else { return Ok(None) };
        let result = match done.status {
            STATUS_OK if !done.is_short => Ok(()),
            STATUS_UNSUPPORTED => Err(BlockError::Unsupported),
            _ => Err(BlockError::Io),
        };
        Ok(Some(BlockCompletion { request: done.request, result }))
    }

    /// Leaves the device alone; what it had is gone.
    #[cold]
    fn give_up(&mut self) {
        self.broken = true;
        crate::log::error!(
            "the disk `{}` broke the rules and is not used any more: it returned a request that it was not given, wrote \
             beyond the end of one, answered what is no answer, or asked to be reset",
            self.info.serial.as_str()
        );
        stop(&mut self.transport, &mut self.queue);
        let gone = |request| BlockCompletion { request, result: Err(BlockError::Gone) };
        self.settled.extend(self.queue.take_all().map(gone));
    }

    /// Whether an interrupt came that was none of the queue, and the device asks to be reset.
    fn asks_for_reset(&mut self) -> bool {
        let came = mem::take(&mut self.awaited) && self.irq.has_come();
        came && self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET)
    }

    #[cfg(feature = "selftest")]
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Allows or forbids interrupts.
    #[inline]
    fn arm(&mut self, armed: bool) {
        if self.armed != armed {
            self.armed = armed;
            self.queue.interrupt(armed);
        }
    }
}

/// Makes sure that the device does not touch our memory any more, or else that nobody else ever does.
fn stop(transport: &mut impl Transport, queue: &mut RequestQueue) {
    if !device::reset(transport) {
        queue.leak();
    }
}

impl<T: Transport> BlockDevice for VirtioBlock<T> {
    fn info(&self) -> &BlockInfo {
        &self.info
    }

    fn submit(&mut self, request: BlockRequest) -> Result<(), BlockRequest> {
        request.check(&self.info);
        match self.kind(&request) {
            Ok(kind) => self.queue.push(kind, request),
            Err(_) if self.settled.len() >= self.info.queue_len => Err(request),
            Err(result) => {
                self.settled.push_back(BlockCompletion { request, result });
                Ok(())
            }
        }
    }

    fn kick(&mut self) {
        self.queue.announce(&mut self.transport);
    }

    fn complete(&mut self) -> Option<BlockCompletion> {
        if !self.broken {
            match self.next_done() {
                Ok(Some(done)) => {
                    self.arm(false);
                    return Some(done);
                }
                Ok(None) => {}
                Err(Lie) => self.give_up(),
            }
        }
        self.settled.pop_front()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.settled.is_empty() {
            return Poll::Ready(());
        }
        if self.broken {
            return Poll::Pending;
        }
        self.transport.ack_interrupt();
        if self.queue.is_ready() {
            return Poll::Ready(());
        }
        if self.asks_for_reset() {
            self.give_up();
            return if self.settled.is_empty() { Poll::Pending } else { Poll::Ready(()) };
        }
        self.arm(true);
        if self.queue.is_ready() {
            self.arm(false);
            return Poll::Ready(());
        }
        self.awaited = true;
        self.irq.wake(cx.waker());
        Poll::Pending
    }
}

impl<T: Transport> Drop for VirtioBlock<T> {
    fn drop(&mut self) {
        if !self.broken {
            stop(&mut self.transport, &mut self.queue);
        }
    }
}
