//! The network device (virtio 1.2, 5.1): an asynchronous driver.
//!
//! Frames are owned by the driver while the device may touch them, one descriptor each: our headroom holds the
//! device's header. While the stack is busy the device is told not to interrupt; only before it sleeps are
//! interrupts armed. EVENT_IDX is not negotiated: under load interrupts are off for long, which the flags say more simply.

use super::{
    super::interrupts::Irq,
    queue::{Direction, Lie, Queue},
};
use crate::{
    Error, Result,
    device::{Checksum, Frame, HEADROOM, NetDevice, Offloads},
};
use alloc::{
    format,
    string::{String, ToString},
};
use core::task::{Context, Poll};
use virtio_drivers::transport::Transport;

const QUEUE_RECEIVE: u16 = 0;
const QUEUE_TRANSMIT: u16 = 1;

/// Receive buffers on the smallest machine: a window's worth of full frames from a few peers. With memory to spare the
/// queue is filled.
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
    receive: Queue,
    transmit: Queue,
    irq: Irq,
    mac: [u8; 6],
    mtu: usize,
    frame_len_max: usize,
    offloads: Offloads,
    header_len: usize,
    /// The transmit queue was full, and somebody waits for room.
    awaits_room: bool,
    /// Whether the receive queue interrupts.
    armed: bool,
    /// The device broke the rules; it is left alone from then on.
    broken: bool,
}

impl<T: Transport> VirtioNet<T> {
    /// Sets the device up and gives it receive buffers.
    ///
    /// # Errors
    ///
    /// A queue is missing, memory is short, or the configuration makes no sense.
    pub(super) fn new(mut transport: T, irq: Irq) -> Result<VirtioNet<T>> {
        let features = transport.begin_init(Features::all());
        let modern = features.contains(Features::VERSION_1);
        let header_len = if modern { header::LEN } else { header::LEN_LEGACY };
        let mut queue = |number, direction| {
            let queue = Queue::new(&mut transport, number, direction, header_len);
            queue.ok_or_else(|| problem(format!("its queue {number} could not be set up: check its queue sizes (powers of two), or give the machine more memory with -m")))
        };
        let receive = queue(QUEUE_RECEIVE, Direction::Receive)?;
        let transmit = queue(QUEUE_TRANSMIT, Direction::Transmit)?;
        let mac = match features.contains(Features::MAC) {
            true => read_mac(&transport).map_err(|error| problem(error.to_string()))?,
            false => random_mac(),
        };
        let mtu = match features.contains(Features::MTU) {
            true => transport.read_config_space::<u16>(10).map_err(|error| problem(error.to_string()))?.into(),
            false => MTU_DEFAULT,
        };
        if !(MTU_MIN..=MTU_MAX).contains(&mtu) {
            return Err(problem(format!("its MTU is {mtu}; give it one from {MTU_MIN} to {MTU_MAX}")));
        }
        transport.finish_init();
        let mut device = VirtioNet {
            transport,
            receive,
            transmit,
            irq,
            mac,
            mtu,
            frame_len_max: mtu + ETHERNET_HEADER_MAX,
            offloads: Offloads {
                tx_checksum: features.contains(Features::CSUM),
                rx_checksum: features.contains(Features::GUEST_CSUM),
                ..Offloads::default()
            },
            header_len,
            awaits_room: false,
            armed: true,
            broken: false,
        };
        device.transmit.interrupt(false);
        for _ in 0..receive_buffers(device.frame_len_max).min(device.receive.len()) {
            device.refill();
        }
        device.flush();
        Ok(device)
    }

    /// Gives the device one more receive buffer.
    #[inline]
    fn refill(&mut self) {
        let mut frame = Frame::with_capacity(self.frame_len_max);
        frame.resize(self.frame_len_max);
        // A full queue has enough buffers.
        let _ = self.receive.push(frame);
    }

    /// Takes back the frames the device has sent.
    #[inline]
    fn reclaim(&mut self) {
        loop {
            match self.transmit.pop() {
                Ok(Some(sent)) => drop(sent),
                Ok(None) => return,
                Err(Lie) => return self.give_up(),
            }
        }
    }

    #[cold]
    fn give_up(&mut self) {
        self.broken = true;
        crate::log::error!(
            "the network device broke the rules and is not used any more: it returned a buffer that it was not given, or \
             wrote beyond the end of one"
        );
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

#[cold]
fn problem(what: String) -> Error {
    Error::msg(format!("the virtio network device cannot be used: {what}"))
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
        match self.receive.pop() {
            Ok(Some(mut frame)) => {
                self.arm(false);
                self.refill();
                let header_len = self.header_len;
                let flags = frame.buffer_mut().0[HEADROOM - header_len];
                let checked = flags & (header::FLAG_NEEDS_CSUM | header::FLAG_DATA_VALID) != 0;
                frame.checksum = if checked { Checksum::Valid } else { Checksum::Plain };
                Some(frame)
            }
            Ok(None) => None,
            Err(Lie) => {
                self.give_up();
                None
            }
        }
    }

    fn transmit(&mut self, mut frame: Frame) -> Result<(), Frame> {
        assert!(frame.len() <= self.frame_len_max, "a frame of {} bytes on an MTU of {}", frame.len(), self.mtu);
        if self.broken {
            // Lost, as on a cable that was cut.
            return Ok(());
        }
        write_header(&mut frame, self.header_len);
        match self.transmit.push(frame) {
            Ok(()) => Ok(()),
            Err(frame) => {
                // What is queued must be sent for room to come.
                self.flush();
                self.transmit.push(frame).inspect_err(|_| self.awaits_room = true)
            }
        }
    }

    fn flush(&mut self) {
        self.transmit.announce(&mut self.transport);
        self.receive.announce(&mut self.transport);
        self.reclaim();
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
    affordable.max(RECEIVE_BUFFERS_MIN)
}
