//! The device of a network port, and the one frame it could not take yet.

use crate::{
    capture::{Direction, Taps},
    packet::Mac,
};
use alloc::boxed::Box;
use core::task::{Context, Poll};
use unikernel_rt::device::{Checksum, Frame, NetDevice, Offloads, PortStats};

pub(crate) struct Link {
    device: Box<dyn NetDevice>,
    mac: Mac,
    mtu: usize,
    offloads: Offloads,
    /// A frame the full device handed back. While there is one, flows send nothing, so one is all.
    waiting: Option<Frame>,
    /// Frames were queued that the device has not been told about.
    unflushed: bool,
    /// Answers there was no room for.
    pub(crate) dropped: u64,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) taps: Taps,
}

impl Link {
    pub(crate) fn new(device: Box<dyn NetDevice>) -> Link {
        let (mac, mtu, offloads) = (device.mac(), device.mtu(), device.offloads());
        let (waiting, unflushed, dropped) = (None, false, 0);
        let (frames_in, frames_out, bytes_in, bytes_out) = (0, 0, 0, 0);
        let taps = Taps::default();
        Link {
            device,
            mac,
            mtu,
            offloads,
            waiting,
            unflushed,
            dropped,
            frames_in,
            frames_out,
            bytes_in,
            bytes_out,
            taps,
        }
    }

    #[inline]
    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    pub(crate) fn mtu(&self) -> usize {
        self.mtu
    }

    #[inline]
    pub(crate) fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// The next received frame. What came in parts has been checked by the device, or is in one part.
    #[inline]
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        let frame = self.device.receive()?;
        self.taps.note(&frame, Direction::In);
        self.frames_in += 1;
        self.bytes_in += frame.len() as u64;
        if frame.rest().is_empty() {
            return Some(frame);
        }
        self.bytes_in += frame.rest().iter().map(|part| part.len() as u64).sum::<u64>();
        if frame.checksum == Checksum::Valid { Some(frame) } else { Some(frame.into_one_part()) }
    }

    /// Whether the device is known to be full.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.is_some()
    }

    /// Sends a complete frame.
    ///
    /// Only answers to packets come here while a frame waits; flows are not asked then. Dropping such an answer is what
    /// any full network does, and its peer asks again.
    #[inline]
    pub(crate) fn send(&mut self, frame: Frame) {
        if self.waiting.is_some() {
            self.dropped += 1;
            return;
        }
        self.taps.note(&frame, Direction::Out);
        self.hand_over(frame);
    }

    /// Tries again what the device could not take.
    #[inline]
    pub(crate) fn retry(&mut self) {
        if let Some(frame) = self.waiting.take() {
            self.hand_over(frame);
        }
    }

    #[inline]
    fn hand_over(&mut self, frame: Frame) {
        let len = frame.len() as u64;
        match self.device.transmit(frame) {
            Ok(()) => {
                self.frames_out += 1;
                self.bytes_out += len;
                self.unflushed = true;
            }
            Err(frame) => self.waiting = Some(frame),
        }
    }

    /// Rings the doorbell if there is something new.
    #[inline]
    pub(crate) fn flush(&mut self) {
        if core::mem::take(&mut self.unflushed) {
            self.device.flush();
        }
    }

    pub(crate) fn stats(&self) -> PortStats {
        self.device.stats()
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_ready(cx)
    }
}
