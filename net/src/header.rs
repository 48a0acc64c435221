//! The headers of a flow's segments, made once and copied in front of every one.

use crate::{
    checksum::Sum,
    flow_map::FlowKey,
    packet::{
        ETHERNET_HEADER_LEN, IPV4_HEADER_LEN, IPV6_HEADER_LEN, Mac, PROTOCOL_TCP, TCP_HEADER_LEN, TYPE_IPV4, TYPE_IPV6,
    },
    tcp::Options,
};
use core::net::IpAddr;
use unikernel_rt::device::{Checksum, Frame, Segmentation};

const LEN4: usize = ETHERNET_HEADER_LEN + IPV4_HEADER_LEN + TCP_HEADER_LEN;
const LEN6: usize = ETHERNET_HEADER_LEN + IPV6_HEADER_LEN + TCP_HEADER_LEN;
/// Where a TCP header has its checksum.
const TCP_CHECKSUM: usize = 16;
/// Hops a packet may take (RFC 1700 and everyone since).
pub(crate) const HOPS: u8 = 64;

/// The headers of a flow's segments.
pub(crate) struct Template {
    bytes: [u8; LEN6],
    is_v4: bool,
    /// Of the IPv4 header, without its length.
    ip_sum: Sum,
    /// Of the pseudo header, without its length.
    pseudo_sum: Sum,
}

/// What differs from one segment to the next.
pub(crate) struct Fields<'a> {
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) options: &'a Options,
    /// Of what follows the headers.
    pub(crate) data_len: usize,
    /// The most a segment may carry: a longer one is cut by the device.
    pub(crate) segment_len: u16,
}

impl Template {
    pub(crate) fn new(key: &FlowKey, from: Mac, to: Mac) -> Template {
        let mut bytes = [0; LEN6];
        bytes[..6].copy_from_slice(&to);
        bytes[6..12].copy_from_slice(&from);
        let ip_len = match (key.local.into(), key.peer.into()) {
            (IpAddr::V4(local), IpAddr::V4(peer)) => {
                bytes[12..14].copy_from_slice(&TYPE_IPV4);
                // Version and length; not to be fragmented, so the identification says nothing (RFC 6864, 4.1).
                bytes[14..26].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, HOPS, PROTOCOL_TCP, 0, 0]);
                bytes[26..30].copy_from_slice(&local.octets());
                bytes[30..34].copy_from_slice(&peer.octets());
                IPV4_HEADER_LEN
            }
            (local, peer) => {
                bytes[12..14].copy_from_slice(&TYPE_IPV6);
                bytes[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, PROTOCOL_TCP, HOPS]);
                bytes[22..38].copy_from_slice(&octets(local));
                bytes[38..54].copy_from_slice(&octets(peer));
                IPV6_HEADER_LEN
            }
        };
        let tcp = ETHERNET_HEADER_LEN + ip_len;
        bytes[tcp..tcp + 2].copy_from_slice(&key.local_port().to_be_bytes());
        bytes[tcp + 2..tcp + 4].copy_from_slice(&key.peer_port().to_be_bytes());
        let addresses = if key.is_v4() { 26..34 } else { 22..54 };
        Template {
            is_v4: key.is_v4(),
            ip_sum: Sum::default().add(&bytes[ETHERNET_HEADER_LEN..tcp]),
            pseudo_sum: Sum::default().add(&bytes[addresses]).add_protocol(PROTOCOL_TCP),
            bytes,
        }
    }

    /// Whom the frames go to.
    #[inline]
    pub(crate) fn destination(&self) -> Mac {
        [self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3], self.bytes[4], self.bytes[5]]
    }

    /// The path to the peer has changed.
    pub(crate) fn set_destination(&mut self, to: Mac) {
        self.bytes[..6].copy_from_slice(&to);
    }

    /// A frame with everything but its data, which the caller puts where the range says, before [`seal`].
    #[inline]
    pub(crate) fn frame(&self, fields: &Fields<'_>) -> (Frame, usize) {
        let len = if self.is_v4 { LEN4 } else { LEN6 };
        let options_len = fields.options.len();
        let data = len + options_len;
        let mut frame = Frame::with_capacity(data + fields.data_len);
        frame.resize(data + fields.data_len);
        let tcp_len = TCP_HEADER_LEN + options_len + fields.data_len;
        // Two copies of a known length are a few moves each.
        let tcp = match self.is_v4 {
            true => {
                frame[..LEN4].copy_from_slice(&self.bytes[..LEN4]);
                let total = (IPV4_HEADER_LEN + tcp_len) as u16;
                frame[16..18].copy_from_slice(&total.to_be_bytes());
                frame[24..26].copy_from_slice(&self.ip_sum.add_len(total).finish());
                LEN4 - TCP_HEADER_LEN
            }
            false => {
                frame[..LEN6].copy_from_slice(&self.bytes);
                frame[18..20].copy_from_slice(&(tcp_len as u16).to_be_bytes());
                LEN6 - TCP_HEADER_LEN
            }
        };
        let header = &mut frame[tcp + 4..tcp + TCP_CHECKSUM];
        header[..4].copy_from_slice(&fields.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&fields.acknowledgement.to_be_bytes());
        header[8] = ((TCP_HEADER_LEN + options_len) as u8) << 2;
        header[9] = fields.flags;
        header[10..12].copy_from_slice(&fields.window.to_be_bytes());
        if options_len > 0 {
            fields.options.write(&mut frame[len..data]);
        }
        (frame, data)
    }

    /// Completes a frame of [`frame`](Self::frame): the sum, or what the device needs to make it.
    #[inline]
    pub(crate) fn seal(&self, frame: &mut Frame, fields: &Fields<'_>, device_sums: bool) {
        let tcp = if self.is_v4 { LEN4 } else { LEN6 } - TCP_HEADER_LEN;
        let tcp_len = frame.len() - tcp;
        let pseudo = self.pseudo_sum.add_len(tcp_len as u16);
        let at = tcp + TCP_CHECKSUM;
        if device_sums {
            frame[at..at + 2].copy_from_slice(&pseudo.partial());
            frame.checksum = Checksum::Partial { start: tcp as u16, offset: TCP_CHECKSUM as u16 };
            if fields.data_len > usize::from(fields.segment_len) {
                frame.segmentation = Some(Segmentation { size: fields.segment_len });
            }
        } else {
            let sum = pseudo.add(&frame[tcp..]).finish();
            frame[at..at + 2].copy_from_slice(&sum);
        }
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
