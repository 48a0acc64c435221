//! The network device (virtio 1.2, 5.1): an asynchronous driver.
//!
//! Frames are owned by the driver while the device may touch them, one descriptor each: our headroom holds the
//! device's header. While the stack is busy the device is told not to interrupt; only before it sleeps are
//! interrupts armed. EVENT_IDX is not negotiated: under load interrupts are off for long, which the flags say more simply.

mod header;
mod setup;

use super::{
    super::interrupts::Irq,
    device,
    queue::{Direction, Queue},
    ring::Lie,
};
use crate::{
    Result,
    device::{Frame, HEADROOM, NetDevice, Offloads, PACKET_LEN_MAX, PortStats, pool},
};
use alloc::format;
use core::task::{Context, Poll};
use setup::{ETHERNET_HEADER_MAX, Features, problem};
use virtio_drivers::transport::Transport;

const QUEUE_RECEIVE: u16 = 0;
const QUEUE_TRANSMIT: u16 = 1;

/// Both queues of the device, or none.
fn queues<T: Transport>(transport: &mut T, header_len: usize) -> Result<[Queue; 2]> {
    let ways = [(QUEUE_RECEIVE, Direction::Receive), (QUEUE_TRANSMIT, Direction::Transmit)];
    match ways.map(|(number, direction)| Queue::new(transport, number, direction, header_len)) {
        [Some(receive), Some(transmit)] => Ok([receive, transmit]),
        some => {
            let number = usize::from(some[0].is_some());
            release(transport, some.into_iter().flatten());
            Err(problem(format!(
                "its queue {number} could not be set up: check its queue sizes (powers of two), or give the machine more memory with -m"
            )))
        }
    }
}

/// Drops queues, or leaves them to a device that does not let itself be reset.
fn release(transport: &mut impl Transport, queues: impl Iterator<Item = Queue>) {
    let is_reset = device::reset(transport);
    queues.for_each(|mut queue| {
        if !is_reset {
            queue.leak();
        }
    });
}

/// A network port.
pub(super) struct VirtioNet<T: Transport> {
    transport: T,
    receive: Queue,
    transmit: Queue,
    irq: Irq,
    mac: [u8; 6],
    mtu: usize,
    /// The longest frame to send that need not be cut.
    frame_len_max: usize,
    receive_len: usize,
    offloads: Offloads,
    header_len: usize,
    /// A received packet may go over several buffers.
    merges: bool,
    /// The transmit queue was full, and somebody waits for room.
    awaits_room: bool,
    /// Whether the receive queue interrupts.
    armed: bool,
    /// A packet was dropped because there was no memory for the next one; it was said once.
    starved: bool,
    /// How many so far.
    dropped: u64,
    /// The device broke the rules; it is left alone from then on.
    broken: bool,
}

impl<T: Transport> VirtioNet<T> {
    /// Sets the device up and gives it receive buffers.
    ///
    /// # Errors
    ///
    /// A queue is missing, memory is short, the configuration makes no sense, or the device does not do as it says.
    pub(super) fn new(mut transport: T, irq: Irq) -> Result<VirtioNet<T>> {
        let features = setup::negotiate(&mut transport)?;
        let header_len = features.header_len();
        let mac = features.mac(&transport)?;
        let mtu = features.mtu(&transport)?;
        let [receive, transmit] = queues(&mut transport, header_len)?;
        transport.finish_init();
        let frame_len_max = mtu + ETHERNET_HEADER_MAX;
        let (receive_len, receive_count) = setup::receive_buffers(features, frame_len_max, &receive);
        let mut device = VirtioNet {
            transport,
            receive,
            transmit,
            irq,
            mac,
            mtu,
            frame_len_max,
            receive_len,
            offloads: features.offloads(),
            header_len,
            merges: features.contains(Features::MRG_RXBUF),
            awaits_room: false,
            armed: true,
            starved: false,
            dropped: 0,
            broken: false,
        };
        device.transmit.interrupt(false);
        if device.refill_many(receive_count) < receive_count {
            return Err(problem("there is no memory for its receive buffers; give the machine more with -m".into()));
        }
        device.flush();
        Ok(device)
    }

    /// Gives the device one more receive buffer. False when there is no memory for it.
    #[inline(always)]
    fn refill(&mut self) -> bool {
        let Some(buffer) = pool::take(HEADROOM + self.receive_len) else { return false };
        // All there is: a part of a packet may fill it. A full queue has enough buffers.
        let end = buffer.len();
        self.receive.push(buffer, end);
        true
    }

    /// The next packet, with its parts, if one is there.
    #[inline(always)]
    fn next_packet(&mut self) -> Result<Option<Frame>, Lie> {
        let Some((buffer, len)) = self.receive.pop()? else { return Ok(None) };
        let len = len.checked_sub(self.header_len).ok_or(Lie)?;
        let (checksum, segmentation) = header::read(&buffer, self.header_len);
        let buffers = if self.merges { header::buffers(&buffer) } else { 1 };
        let mut frame = Frame::in_buffer(buffer, HEADROOM, len);
        (frame.checksum, frame.segmentation) = (checksum, segmentation);
        if buffers != 1 {
            self.gather(&mut frame, buffers)?;
        }
        Ok(Some(frame))
    }

    /// Appends the other parts of a packet. The device must have shown them together with the first (virtio 1.2,
    /// 5.1.6.4).
    #[cold]
    fn gather(&mut self, frame: &mut Frame, buffers: u16) -> Result<(), Lie> {
        let mut total_len = frame.len();
        for _ in 0..buffers.checked_sub(1).ok_or(Lie)? {
            let (buffer, len) = self.receive.pop()?.ok_or(Lie)?;
            total_len += len;
            if total_len > PACKET_LEN_MAX {
                return Err(Lie);
            }
            // The device has no header of its own before the later parts.
            frame.append(Frame::in_buffer(buffer, HEADROOM - self.header_len, len));
        }
        Ok(())
    }

    /// Gives the device as many buffers as `frame` has. Where memory is short, those of the frame itself: it is lost,
    /// but the next one is not.
    #[inline(always)]
    fn replace(&mut self, frame: Frame) -> Option<Frame> {
        let parts = 1 + frame.rest().len();
        let done = if parts == 1 { usize::from(self.refill()) } else { self.refill_many(parts) };
        if done == parts {
            return Some(frame);
        }
        self.drop_packet(frame, parts - done);
        None
    }

    /// Gives the device up to `count` more receive buffers, as many as memory allows. Returns how many.
    #[cold]
    fn refill_many(&mut self, count: usize) -> usize {
        (0..count).take_while(|_| self.refill()).count()
    }

    #[cold]
    fn drop_packet(&mut self, frame: Frame, missing: usize) {
        // Its buffers go to the pool, from where they come back.
        drop(frame);
        self.dropped += 1;
        self.refill_many(missing);
        if !core::mem::replace(&mut self.starved, true) {
            crate::log::warn!(
                "out of memory: packets are dropped on receipt; give the machine more with -m, or lower its limits"
            );
        }
    }

    /// Takes back the frames the device has sent.
    #[inline]
    fn reclaim(&mut self) {
        loop {
            match self.transmit.pop() {
                Ok(Some((sent, _))) => pool::put(sent),
                Ok(None) => return,
                Err(Lie) => return self.give_up(),
            }
        }
    }

    #[cold]
    fn give_up(&mut self) {
        self.broken = true;
        crate::log::error!(
            "the network device broke the rules and is not used any more: it returned a buffer that it was not given, \
             wrote beyond the end of one, or told of more buffers or bytes than a packet has"
        );
    }

    #[cfg(feature = "selftest")]
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Allows or forbids interrupts of the receive queue.
    #[inline]
    fn arm(&mut self, armed: bool) {
        if self.armed != armed {
            self.armed = armed;
            self.receive.interrupt(armed);
        }
    }
}

impl<T: Transport> NetDevice for VirtioNet<T> {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.mtu
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn receive(&mut self) -> Option<Frame> {
        while !self.broken {
            match self.next_packet() {
                Ok(Some(frame)) => {
                    self.arm(false);
                    let frame = self.replace(frame);
                    if frame.is_some() {
                        return frame;
                    }
                }
                Ok(None) => return None,
                Err(Lie) => self.give_up(),
            }
        }
        None
    }

    fn transmit(&mut self, mut frame: Frame) -> Result<(), Frame> {
        let len_max = if frame.segmentation.is_some() { PACKET_LEN_MAX } else { self.frame_len_max };
        assert!(frame.len() <= len_max, "a frame of {} bytes on an MTU of {}", frame.len(), self.mtu);
        if self.broken {
            // Lost, as on a cable that was cut.
            return Ok(());
        }
        if self.transmit.is_full() {
            // What is queued must be sent for room to come.
            self.flush();
            if self.transmit.is_full() {
                self.awaits_room = true;
                return Err(frame);
            }
        }
        header::write(&mut frame, self.header_len);
        let end = HEADROOM + frame.len();
        self.transmit.push(frame.into_buffer(), end);
        Ok(())
    }

    fn flush(&mut self) {
        if self.broken {
            return;
        }
        self.transmit.announce(&mut self.transport);
        self.receive.announce(&mut self.transport);
        self.reclaim();
    }

    fn stats(&self) -> PortStats {
        let (used, len) = (self.transmit.used(), self.transmit.len());
        PortStats { received_dropped: self.dropped, send_queue_used: used, send_queue_len: len }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken {
            return Poll::Pending;
        }
        self.transport.ack_interrupt();
        // Buffers taken back by `receive` are of use only when the device knows of them.
        self.receive.announce(&mut self.transport);
        if self.receive.is_ready() {
            return Poll::Ready(());
        }
        if self.awaits_room {
            self.transmit.interrupt(true);
            if self.transmit.is_ready() {
                self.reclaim();
                self.awaits_room = false;
                self.transmit.interrupt(false);
                return Poll::Ready(());
            }
        }
        self.arm(true);
        if self.receive.is_ready() {
            self.arm(false);
            return Poll::Ready(());
        }
        self.irq.wake(cx.waker());
        Poll::Pending
    }
}

impl<T: Transport> Drop for VirtioNet<T> {
    fn drop(&mut self) {
        if !device::reset(&mut self.transport) {
            self.receive.leak();
            self.transmit.leak();
        }
    }
}
