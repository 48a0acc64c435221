//! The network port as smoltcp sees it, for the length of one call: one received packet, one way out.

use crate::packet::{ETHERNET_HEADER_LEN, Mac, Sending, finish};
use alloc::boxed::Box;
use core::task::{Context, Poll};
use smoltcp::{
    phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};
use unikernel_rt::device::{Frame, NetDevice};

/// The device and what it could not take yet.
pub(crate) struct Link {
    device: Box<dyn NetDevice>,
    mac: Mac,
    mtu: usize,
    device_sums: bool,
    /// A frame the full device handed back. While there is one, nothing else is sent, so one is all.
    waiting: Option<Frame>,
    /// Frames were queued that the device has not been told about.
    unflushed: bool,
    /// Answers there was no room for.
    pub(crate) dropped: u64,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
}

impl Link {
    pub(crate) fn new(device: Box<dyn NetDevice>) -> Link {
        let (mac, mtu, device_sums) = (device.mac(), device.mtu(), device.offloads().tx_checksum);
        Link { device, mac, mtu, device_sums, waiting: None, unflushed: false, dropped: 0, frames_in: 0, frames_out: 0 }
    }

    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    /// The next received frame.
    #[inline]
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        let frame = self.device.receive()?.into_one_part();
        self.frames_in += 1;
        Some(frame)
    }

    /// Whether the device is known to be full.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.is_some()
    }

    /// Sends a frame that is complete but for its checksums.
    pub(crate) fn send(&mut self, frame: Frame) {
        self.send_for(frame, None);
    }

    #[inline]
    fn send_for(&mut self, mut frame: Frame, sending: Option<&mut Sending>) {
        finish(&mut frame, self.device_sums, sending);
        // Only the immediate answer to a packet comes here while a frame waits; flows are not asked. Dropping it
        // is what any full network does, and its peer asks again.
        match self.waiting {
            None => self.hand_over(frame),
            Some(_) => self.dropped += 1,
        }
    }

    /// Tries again what the device could not take.
    pub(crate) fn retry(&mut self) {
        if let Some(frame) = self.waiting.take() {
            self.hand_over(frame);
        }
    }

    fn hand_over(&mut self, frame: Frame) {
        match self.device.transmit(frame) {
            Ok(()) => {
                self.frames_out += 1;
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

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_ready(cx)
    }
}

/// The link for one call of smoltcp.
pub(crate) struct Port<'a> {
    link: &'a mut Link,
    /// The packet to process: from the IP header on, or from the Ethernet header on.
    packet: Option<&'a [u8]>,
    /// What to put in front of what is sent; none when smoltcp writes the Ethernet header itself.
    header: Option<[u8; ETHERNET_HEADER_LEN]>,
    /// What the flow has sent, when this is for one.
    sending: Option<&'a mut Sending>,
    /// smoltcp was given the chance to send.
    pub(super) offered: bool,
    /// There was no room to send.
    pub(super) refused: bool,
}

impl<'a> Port<'a> {
    pub(super) fn new(link: &'a mut Link, header: Option<[u8; ETHERNET_HEADER_LEN]>) -> Port<'a> {
        Port { link, packet: None, header, sending: None, offered: false, refused: false }
    }

    /// For sending IP packets to one Ethernet address.
    #[inline]
    pub(super) fn to(link: &'a mut Link, destination: Mac) -> Port<'a> {
        let mut header = [0; ETHERNET_HEADER_LEN];
        header[..6].copy_from_slice(&destination);
        header[6..12].copy_from_slice(&link.mac);
        header[12..].copy_from_slice(&[0x08, 0x00]);
        Port::new(link, Some(header))
    }

    /// For the IP packet in `frame`, which ends at `end`; answers go back to where it came from.
    #[inline]
    pub(super) fn answering(link: &'a mut Link, frame: &'a [u8], end: usize) -> Port<'a> {
        let mut source = [0; 6];
        source.copy_from_slice(&frame[6..12]);
        Port { packet: Some(&frame[ETHERNET_HEADER_LEN..end]), ..Port::to(link, source) }
    }

    /// On behalf of a flow.
    #[inline]
    pub(super) fn of(self, sending: &'a mut Sending) -> Port<'a> {
        Port { sending: Some(sending), ..self }
    }

    fn outgoing(&mut self) -> Outgoing<'_> {
        Outgoing { link: &mut *self.link, header: self.header.as_ref(), sending: self.sending.as_deref_mut() }
    }

    /// For a whole frame.
    pub(super) fn ethernet(link: &'a mut Link, frame: &'a [u8]) -> Port<'a> {
        Port { packet: Some(frame), ..Port::new(link, None) }
    }
}

impl Device for Port<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Outgoing<'t>
    where
        Self: 't;

    #[inline]
    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Outgoing<'_>)> {
        let packet = self.packet.take()?;
        Some((Received(packet), self.outgoing()))
    }

    #[inline]
    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        self.offered = true;
        self.refused = self.link.is_full();
        (!self.refused).then(|| self.outgoing())
    }

    #[inline]
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = match self.header {
            Some(_) => (Medium::Ip, self.link.mtu),
            None => (Medium::Ethernet, self.link.mtu + ETHERNET_HEADER_LEN),
        };
        // `packet::classify` has checked what came in, or the device has; `Link::send` sums what goes out.
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.ipv4 = match self.header {
            Some(_) => Checksum::None,
            None => Checksum::Both,
        };
        // A packet of the same host may carry no complete sum at all, so smoltcp must not look.
        capabilities.checksum.udp = Checksum::Tx;
        capabilities
    }
}

pub(crate) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Outgoing<'a> {
    link: &'a mut Link,
    header: Option<&'a [u8; ETHERNET_HEADER_LEN]>,
    sending: Option<&'a mut Sending>,
}

impl TxToken for Outgoing<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let header = self.header.map_or(&[][..], |header| &header[..]);
        let mut frame = Frame::with_capacity(header.len() + len);
        frame.resize(header.len() + len);
        let (front, packet) = frame.split_at_mut(header.len());
        front.copy_from_slice(header);
        let result = f(packet);
        self.link.send_for(frame, self.sending);
        result
    }
}
