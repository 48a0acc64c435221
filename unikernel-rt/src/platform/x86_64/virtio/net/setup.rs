//! What we ask of a network device (virtio 1.2, 5.1.3), and what its configuration says.

use super::{
    super::{device, queue::Queue},
    header,
};
use crate::{
    Error, Result,
    device::{HEADROOM, Offloads, PACKET_LEN_MAX},
    heap,
};
use alloc::{
    format,
    string::{String, ToString},
};
use virtio_drivers::transport::Transport;

bitflags::bitflags! {
    /// Feature bits (virtio 1.2, 5.1.3 and 6).
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Features: u64 {
        const CSUM = 1 << 0;
        const GUEST_CSUM = 1 << 1;
        const MTU = 1 << 3;
        const MAC = 1 << 5;
        const GUEST_TSO4 = 1 << 7;
        const GUEST_TSO6 = 1 << 8;
        const HOST_TSO4 = 1 << 11;
        const HOST_TSO6 = 1 << 12;
        const MRG_RXBUF = 1 << 15;
        const ANY_LAYOUT = 1 << 27;
        const VERSION_1 = 1 << 32;
    }
}

/// The longest header before the payload: Ethernet with a VLAN tag.
pub(super) const ETHERNET_HEADER_MAX: usize = 18;
const MTU_DEFAULT: usize = 1500;
/// The smallest MTU IPv4 hosts must handle (RFC 791).
const MTU_MIN: usize = 576;
/// IP packets are no longer.
const MTU_MAX: usize = 65_535;

/// Receive buffers on the smallest machine: a window's worth of full frames from a few peers. With memory to spare the
/// queue is filled.
const RECEIVE_BUFFERS_MIN: usize = 32;
/// Receive buffers take at most this part of the heap.
const RECEIVE_HEAP_PART: usize = 16;

/// Receive buffers that are merged are a page. With 1,536 bytes an upload took 732,000 instructions a megabyte, with
/// pages 597,000.
const MERGED_LEN_MIN: usize = 4096 - HEADROOM;

/// Agrees with the device on features and starts its setup.
pub(super) fn negotiate(transport: &mut impl Transport) -> Result<Features> {
    device::negotiate(transport, wanted).map_err(|what| problem(what.into()))
}

/// What of the offer we can use.
fn wanted(mut features: Features) -> Features {
    let both = Features::GUEST_TSO4 | Features::GUEST_TSO6;
    // Without merged buffers every single one would have to hold 64 KiB; and a packet for which there are never enough
    // buffers would stop the device for ever.
    let room = heap::stats().total / RECEIVE_HEAP_PART >= 2 * PACKET_LEN_MAX;
    if !room || !features.contains(Features::MRG_RXBUF | Features::GUEST_CSUM) {
        features.remove(both);
    }
    if !features.intersects(both) {
        features.remove(Features::MRG_RXBUF);
    }
    if !features.contains(Features::CSUM) {
        features.remove(Features::HOST_TSO4 | Features::HOST_TSO6);
    }
    features
}

impl Features {
    pub(super) fn offloads(self) -> Offloads {
        Offloads {
            tx_checksum: self.contains(Features::CSUM),
            rx_checksum: self.contains(Features::GUEST_CSUM),
            segmentation_v4: self.contains(Features::HOST_TSO4),
            segmentation_v6: self.contains(Features::HOST_TSO6),
        }
    }

    pub(super) fn header_len(self) -> usize {
        if self.intersects(Features::VERSION_1 | Features::MRG_RXBUF) { header::LEN } else { header::LEN_SHORT }
    }

    pub(super) fn mac(self, transport: &impl Transport) -> Result<[u8; 6]> {
        match self.contains(Features::MAC) {
            true => device::consistent(transport, || transport.read_config_space::<[u8; 6]>(0)).map_err(problem),
            false => Ok(random_mac()),
        }
    }

    pub(super) fn mtu(self, transport: &impl Transport) -> Result<usize> {
        let mtu = match self.contains(Features::MTU) {
            true => transport.read_config_space::<u16>(10).map_err(|error| problem(error.to_string()))?.into(),
            false => MTU_DEFAULT,
        };
        match (MTU_MIN..=MTU_MAX).contains(&mtu) {
            true => Ok(mtu),
            false => Err(problem(format!("its MTU is {mtu}; give it one from {MTU_MIN} to {MTU_MAX}"))),
        }
    }
}

/// A locally administered address, for devices that have none.
fn random_mac() -> [u8; 6] {
    let mut mac = [0; 6];
    crate::entropy::fill(&mut mac);
    mac[0] = mac[0] & !0b01 | 0b10;
    mac
}

/// How long receive buffers are, and how many of them the machine can afford. Each holds a whole ordinary frame; where
/// they are merged, all together hold the longest packet.
pub(super) fn receive_buffers(features: Features, frame_len: usize, queue: &Queue) -> (usize, usize) {
    let mut len = frame_len;
    let mut count_min = RECEIVE_BUFFERS_MIN;
    if features.contains(Features::MRG_RXBUF) {
        len = len.max(MERGED_LEN_MIN).max(PACKET_LEN_MAX.div_ceil(queue.len()));
        count_min = count_min.max((PACKET_LEN_MAX + header::LEN).div_ceil(len));
    }
    let affordable = heap::stats().total / RECEIVE_HEAP_PART / (len + HEADROOM);
    (len, affordable.max(count_min).min(queue.len()))
}

#[cold]
pub(super) fn problem(what: String) -> Error {
    Error::msg(format!("the virtio network device cannot be used: {what}"))
}
