//! The network device (virtio 1.2, 5.1): an asynchronous driver.
//!
//! Frames are owned by the driver while the device may touch them, one descriptor each: our headroom holds the
//! device's header. While the stack is busy the device is told not to interrupt; only before it sleeps are
//! interrupts armed. EVENT_IDX is not negotiated: `virtio-drivers` can then not suppress interrupts.

use super::{super::interrupts::Irq, hal::VirtioHal};
use crate::{
    Error, Result,
    device::{Checksum, Frame, HEADROOM, NetDevice, Offloads},
};
use alloc::{boxed::Box, format, vec::Vec};
use core::{
    sync::atomic::{Ordering, fence},
    task::{Context, Poll},
};
use virtio_drivers::{queue::VirtQueue, transport::Transport};

/// Descriptors per queue: what QEMU, Firecracker and cloud-hypervisor offer.
const QUEUE_LEN: usize = 256;
const QUEUE_RECEIVE: u16 = 0;
const QUEUE_TRANSMIT: u16 = 1;

/// Receive buffers on a machine with memory to spare; a full queue.
const RECEIVE_BUFFERS_MAX: usize = QUEUE_LEN;
/// Receive buffers on the smallest machine: a window's worth of full frames from a few peers.
const RECEIVE_BUFFERS_MIN: usize = 32;
/// Receive buffers take at most this part of the heap.
const RECEIVE_HEAP_PART: usize = 16;

bitflags::bitflags! {
    /// Feature bits (virtio 1.2, 5.1.3 and 6).
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const CSUM = 1 << 0;
        const GUEST_CSUM = 1 << 1;
        const MTU = 1 << 3;
        const MAC = 1 << 5;
        const ANY_LAYOUT = 1 << 27;
        const VERSION_1 = 1 << 32;
    }
}

/// The device's header before every frame (virtio 1.2, 5.1.6).
mod header {
    pub(super) const LEN: usize = 12;
    /// Legacy devices leave out the number of buffers.
    pub(super) const LEN_LEGACY: usize = 10;
    pub(super) const FLAG_NEEDS_CSUM: u8 = 1;
    pub(super) const FLAG_DATA_VALID: u8 = 2;
}

/// The longest header before the payload: Ethernet with a VLAN tag.
const ETHERNET_HEADER_MAX: usize = 18;
const MTU_DEFAULT: usize = 1500;
/// The smallest MTU IPv4 hosts must handle (RFC 791).
const MTU_MIN: usize = 576;
/// IP packets are no longer.
const MTU_MAX: usize = 65_535;

/// A network port.
pub(super) struct VirtioNet<T: Transport> {
    transport: T,
    receive: Box<Ring>,
    transmit: Box<Ring>,
    irq: Irq,
    mac: [u8; 6],
    mtu: usize,
    offloads: Offloads,
    header_len: usize,
    /// Frames were queued since the last doorbell.
    unannounced: bool,
    /// Receive buffers were returned since the last doorbell.
    refilled: bool,
    /// The transmit queue was full, and somebody waits for room.
    awaits_room: bool,
    /// Whether the receive queue interrupts.
    armed: bool,
    /// The device broke the rules; it is left alone from then on.
    broken: bool,
}

/// A virtqueue and the frames its device owns, by descriptor.
struct Ring {
    queue: VirtQueue<VirtioHal, QUEUE_LEN>,
    frames: Vec<Option<Frame>>,
}

impl<T: Transport> VirtioNet<T> {
    /// Sets the device up and gives it receive buffers.
    ///
    /// # Errors
    ///
    /// The device refuses our features or has smaller queues.
    pub(super) fn new(mut transport: T, irq: Irq) -> Result<VirtioNet<T>> {
        let features = transport.begin_init(Features::all());
        let problem = |what| Error::msg(format!("the virtio network device cannot be used: {what}"));
        let queue = |transport: &mut T, number| {
            VirtQueue::new(transport, number, false, false)
                .map_err(|error| problem(format!("queue {number}: {error}; it needs {QUEUE_LEN} entries")))
        };
        let receive = Ring::new(queue(&mut transport, QUEUE_RECEIVE)?);
        let transmit = Ring::new(queue(&mut transport, QUEUE_TRANSMIT)?);
        let mac = match features.contains(Features::MAC) {
            true => read_mac(&transport).map_err(|error| problem(format!("{error}")))?,
            false => random_mac(),
        };
        let mtu = match features.contains(Features::MTU) {
            true => transport.read_config_space::<u16>(10).map_err(|error| problem(format!("{error}")))?.into(),
            false => MTU_DEFAULT,
        };
        if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
            return Err(problem(format!("its MTU is {mtu}; give it one from {MTU_MIN} to {MTU_MAX}")));
        }
        let modern = features.contains(Features::VERSION_1);
        let mut device = VirtioNet {
            receive: Box::new(receive),
            transmit: Box::new(transmit),
            irq,
            mac,
            mtu,
            offloads: Offloads {
                tx_checksum: features.contains(Features::CSUM),
                rx_checksum: features.contains(Features::GUEST_CSUM),
            },
            header_len: if modern { header::LEN } else { header::LEN_LEGACY },
            unannounced: false,
            refilled: false,
            awaits_room: false,
            armed: true,
            broken: false,
            transport,
        };
        device.transport.finish_init();
        device.transmit.queue.set_dev_notify(false);
        for _ in 0..receive_buffers(device.frame_len_max()) {
            device.refill();
        }
        device.flush();
        Ok(device)
    }

    fn frame_len_max(&self) -> usize {
        self.mtu + ETHERNET_HEADER_MAX
    }

    /// Gives the device one more receive buffer.
    fn refill(&mut self) {
        let mut frame = Frame::with_capacity(self.frame_len_max());
        frame.resize(self.frame_len_max());
        // A full queue has enough buffers.
        self.refilled |= self.receive.add_receive(frame, self.header_len).is_ok();
    }

    /// Takes back the frames the device has sent.
    fn reclaim(&mut self) {
        while let Some(token) = self.transmit.queue.peek_used() {
            if self.transmit.take_sent(token, self.header_len).is_none() {
                return self.give_up("it returned a frame that it was not given");
            }
        }
    }

    fn give_up(&mut self, what: &str) {
        self.broken = true;
        crate::log::error!("the network device broke the rules and is not used any more: {}", what);
    }

    /// Allows or forbids interrupts of the receive queue.
    fn arm(&mut self, armed: bool) {
        if self.armed != armed {
            self.armed = armed;
            self.receive.queue.set_dev_notify(armed);
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
        if self.broken {
            return None;
        }
        let token = self.receive.queue.peek_used()?;
        self.arm(false);
        let Some(frame) = self.receive.take_received(token, self.header_len) else {
            self.give_up("it returned a receive buffer that it was not given, or wrote beyond its end");
            return None;
        };
        self.refill();
        Some(frame)
    }

    fn transmit(&mut self, mut frame: Frame) -> Result<(), Frame> {
        assert!(frame.len() <= self.frame_len_max(), "a frame of {} bytes on an MTU of {}", frame.len(), self.mtu);
        if self.broken {
            // Lost, as on a cable that was cut.
            return Ok(());
        }
        write_header(&mut frame, self.header_len);
        match self.transmit.add_transmit(frame, self.header_len) {
            Ok(()) => {
                self.unannounced = true;
                Ok(())
            }
            Err(frame) => {
                self.reclaim();
                self.transmit.add_transmit(frame, self.header_len).inspect_err(|_| self.awaits_room = true)
            }
        }
    }

    fn flush(&mut self) {
        // The device must see the new index before we read whether it wants a doorbell (virtio 1.2, 2.7.13.4.1).
        fence(Ordering::SeqCst);
        if core::mem::take(&mut self.unannounced) && self.transmit.queue.should_notify() {
            self.transport.notify(QUEUE_TRANSMIT);
        }
        if core::mem::take(&mut self.refilled) && self.receive.queue.should_notify() {
            self.transport.notify(QUEUE_RECEIVE);
        }
        self.reclaim();
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.broken {
            return Poll::Pending;
        }
        self.transport.ack_interrupt();
        if self.receive.queue.can_pop() {
            return Poll::Ready(());
        }
        if self.awaits_room {
            self.transmit.queue.set_dev_notify(true);
        }
        self.arm(true);
        // What the device finished before it saw the flags comes without an interrupt, so we look once more.
        fence(Ordering::SeqCst);
        if self.awaits_room && self.transmit.queue.can_pop() {
            self.reclaim();
            self.awaits_room = false;
            self.transmit.queue.set_dev_notify(false);
            return Poll::Ready(());
        }
        if self.receive.queue.can_pop() {
            self.arm(false);
            return Poll::Ready(());
        }
        self.irq.wake(cx.waker());
        Poll::Pending
    }
}

impl Ring {
    fn new(queue: VirtQueue<VirtioHal, QUEUE_LEN>) -> Ring {
        Ring { queue, frames: (0..QUEUE_LEN).map(|_| None).collect() }
    }

    /// Lets the device write into `frame`.
    fn add_receive(&mut self, mut frame: Frame, header_len: usize) -> Result<(), Frame> {
        let (buffer, end) = frame.buffer_mut();
        // SAFETY: the frame stays in `frames` until `pop_used` returns its token, and nobody touches it there.
        let added = unsafe { self.queue.add(&[], &mut [&mut buffer[HEADROOM - header_len..end]]) };
        self.keep(added, frame)
    }

    /// Lets the device read `frame`.
    fn add_transmit(&mut self, mut frame: Frame, header_len: usize) -> Result<(), Frame> {
        let (buffer, end) = frame.buffer_mut();
        // SAFETY: as for `add_receive`.
        let added = unsafe { self.queue.add(&[&buffer[HEADROOM - header_len..end]], &mut []) };
        self.keep(added, frame)
    }

    fn keep(&mut self, added: virtio_drivers::Result<u16>, frame: Frame) -> Result<(), Frame> {
        match added {
            Ok(token) => {
                self.frames[usize::from(token)] = Some(frame);
                Ok(())
            }
            Err(_) => Err(frame),
        }
    }

    /// The frame of a receive buffer that the device has filled. `None` when the device lies.
    fn take_received(&mut self, token: u16, header_len: usize) -> Option<Frame> {
        let mut frame = self.frames.get_mut(usize::from(token))?.take()?;
        let (buffer, end) = frame.buffer_mut();
        let mut outputs = [&mut buffer[HEADROOM - header_len..end]];
        // SAFETY: the frame and the part of it that were added with this token.
        let written = unsafe { self.queue.pop_used(token, &[], &mut outputs) }.ok()? as usize;
        let flags = buffer[HEADROOM - header_len];
        let len = written.checked_sub(header_len).filter(|len| *len <= frame.len())?;
        frame.resize(len);
        let checked = flags & (header::FLAG_NEEDS_CSUM | header::FLAG_DATA_VALID) != 0;
        frame.checksum = if checked { Checksum::Valid } else { Checksum::Plain };
        Some(frame)
    }

    /// The frame of a transmit buffer that the device has sent. `None` when the device lies.
    fn take_sent(&mut self, token: u16, header_len: usize) -> Option<Frame> {
        let mut frame = self.frames.get_mut(usize::from(token))?.take()?;
        let (buffer, end) = frame.buffer_mut();
        // SAFETY: the frame and the part of it that were added with this token.
        unsafe { self.queue.pop_used(token, &[&buffer[HEADROOM - header_len..end]], &mut []) }.ok()?;
        Some(frame)
    }
}

/// Fills the device's header: no segmentation, and the checksum where it is left to the device.
fn write_header(frame: &mut Frame, header_len: usize) {
    let checksum = frame.checksum;
    let (buffer, _) = frame.buffer_mut();
    let header = &mut buffer[HEADROOM - header_len..HEADROOM];
    header.fill(0);
    if let Checksum::Partial { start, offset } = checksum {
        header[0] = header::FLAG_NEEDS_CSUM;
        header[6..8].copy_from_slice(&start.to_le_bytes());
        header[8..10].copy_from_slice(&offset.to_le_bytes());
    }
}

fn read_mac(transport: &impl Transport) -> virtio_drivers::Result<[u8; 6]> {
    transport.read_consistent(|| transport.read_config_space::<[u8; 6]>(0))
}

/// A locally administered address, for devices that have none.
fn random_mac() -> [u8; 6] {
    let mut mac = [0; 6];
    crate::entropy::fill(&mut mac);
    mac[0] = mac[0] & !0b01 | 0b10;
    mac
}

/// How many receive buffers the machine can afford.
fn receive_buffers(frame_len: usize) -> usize {
    let affordable = crate::heap::stats().total / RECEIVE_HEAP_PART / (frame_len + HEADROOM);
    affordable.clamp(RECEIVE_BUFFERS_MIN, RECEIVE_BUFFERS_MAX)
}
