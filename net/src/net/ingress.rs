//! Received frames: to their flow, to a listener, a datagram socket or a protocol, or to nobody.

use super::Net;
use crate::{
    flow::Stage,
    flow_map::Slot,
    header::Fields,
    limits::FRAMES_PER_TURN,
    packet::{ACK, Mac, Packet, RST, Reason, Segment, classify, is_control_intact, transport},
    tcp::{self, Options},
    time_wait::Verdict,
};
use unikernel_rt::{device::Frame, time::Instant};

impl Net {
    /// Takes up to a budget of frames from every interface. True when there may be more.
    pub(super) fn receive(&mut self, now: Instant) -> bool {
        let mut more = false;
        for index in 0..self.interfaces.len() {
            more |= self.receive_from(index, now);
        }
        more
    }

    #[inline]
    fn receive_from(&mut self, index: usize, now: Instant) -> bool {
        for _ in 0..FRAMES_PER_TURN {
            let Some(frame) = self.interfaces[index].link.receive() else { return false };
            let packet = classify(&frame, self.interfaces[index].link.mac());
            match packet {
                Packet::Tcp(segment) => self.tcp(index, &frame, &segment, now),
                packet => self.other(index, frame, packet, now),
            }
        }
        true
    }

    /// Whatever is not TCP.
    fn other(&mut self, index: usize, frame: Frame, packet: Packet, now: Instant) {
        match packet {
            Packet::Tcp(segment) => self.tcp(index, &frame, &segment, now),
            Packet::Udp(datagram) => self.udp(index, frame, &datagram, now),
            Packet::Arp => self.arp(index, &frame, now),
            Packet::Control(ip) if is_control_intact(&frame, ip) => self.control(index, &frame, ip, now),
            Packet::Control(_) => self.count_drop(Reason::Checksum),
            Packet::Fragment(ip) => {
                self.counters.drops.fragments += 1;
                if let Some((whole, ip)) = self.fragments.add(&frame, ip, now) {
                    self.counters.reassembled += 1;
                    let packet = transport(&whole, ip);
                    self.other(index, whole, packet, now);
                }
            }
            Packet::Drop(reason) => self.count_drop(reason),
        }
    }

    pub(super) fn count_drop(&mut self, reason: Reason) {
        let drops = &mut self.counters.drops;
        *match reason {
            Reason::Foreign => &mut drops.foreign,
            Reason::Malformed => &mut drops.malformed,
            Reason::Checksum => &mut drops.checksum,
        } += 1;
    }

    #[inline]
    fn tcp(&mut self, index: usize, frame: &Frame, segment: &Segment, now: Instant) {
        match self.map.get(&segment.key) {
            Some(Slot::Flow(id)) => self.deliver(id, frame, segment, now),
            Some(Slot::HalfOpen(id)) => self.shake(id, frame, segment, now),
            Some(Slot::TimeWait(number)) => self.late(index, number, frame, segment, now),
            None => self.unknown(index, frame, segment, now),
        }
    }

    #[inline]
    pub(super) fn deliver(&mut self, id: u32, frame: &Frame, segment: &Segment, now: Instant) {
        let flow = &mut self.flows[id as usize];
        self.counters.flow_polls += 1;
        let doubtful = flow.doubtful(source(frame));
        let outcome = flow.tcb.on_segment(&parsed(frame, segment), now, &mut self.budget);
        if let Some(before) = doubtful {
            flow.reroute(source(frame), before);
        }
        flow.wake(&outcome);
        if outcome.closed || flow.stage == Stage::Orphan {
            return self.changed(id, now);
        }
        if flow.tcb.has_output() {
            self.mark_dirty(id);
        }
    }

    /// A segment of a connection that is over.
    fn late(&mut self, index: usize, number: u32, frame: &Frame, segment: &Segment, now: Instant) {
        let slot = Slot::TimeWait(number);
        let Some(record) = self.time_wait.get(number).copied() else {
            self.map.remove(&segment.key, slot);
            return self.unknown(index, frame, segment, now);
        };
        match record.judge(segment.opens(), segment.is_reset(), segment.sequence) {
            Verdict::Ignore => {}
            Verdict::Acknowledge => self.bare(index, frame, segment, ACK, record.sequence, record.acknowledgement, now),
            verdict @ (Verdict::Reopen | Verdict::Forget) => {
                self.time_wait.forget(number);
                self.map.remove(&segment.key, slot);
                if verdict == Verdict::Reopen {
                    self.unknown(index, frame, segment, now);
                }
            }
        }
    }

    fn unknown(&mut self, index: usize, frame: &Frame, segment: &Segment, now: Instant) {
        let local = segment.key.local.into();
        if !self.interfaces[index].is_ours(local) {
            return self.count_drop(Reason::Foreign);
        }
        if self.listeners.get(&segment.key.local_port()).is_some_and(|backlog| !backlog.is_closed) {
            if segment.opens() {
                return self.open(index, frame, segment, now);
            }
            if self.open_by_cookie(index, frame, segment, now) {
                return;
            }
        }
        self.counters.drops.unmatched += 1;
        self.refuse_segment(index, frame, segment, now);
    }

    /// A reset for a segment that belongs to nothing (RFC 9293, 3.5.2).
    pub(super) fn refuse_segment(&mut self, index: usize, frame: &Frame, segment: &Segment, now: Instant) {
        if segment.is_reset() {
            return;
        }
        if segment.flags & ACK != 0 {
            return self.bare(index, frame, segment, RST, segment.acknowledgement, 0, now);
        }
        let after = segment.sequence.wrapping_add(segment.sequence_len());
        self.bare(index, frame, segment, RST | ACK, 0, after, now);
    }

    /// A segment without data, back to where `frame` came from, as often as strangers may get one.
    #[expect(clippy::too_many_arguments, reason = "the fields of a header")]
    fn bare(
        &mut self,
        index: usize,
        to: &Frame,
        of: &Segment,
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
        now: Instant,
    ) {
        if !self.complaints.allow(now) {
            return;
        }
        let link = &mut self.interfaces[index].link;
        let template = crate::header::Template::new(&of.key, link.mac(), source(to));
        let fields = Fields {
            sequence,
            acknowledgement,
            flags,
            window: 0,
            options: &Options::None,
            data_len: 0,
            segment_len: u16::MAX,
        };
        let (mut reply, _) = template.frame(&fields);
        template.seal(&mut reply, &fields, link.offloads().tx_checksum);
        link.send(reply);
    }
}

/// The segment as the TCP machine takes it.
#[inline(always)]
fn parsed<'a>(frame: &'a Frame, segment: &Segment) -> tcp::Segment<'a> {
    let tcp = &frame[segment.tcp..segment.data];
    tcp::Segment {
        seq: segment.sequence,
        ack: segment.acknowledgement,
        window: segment.window,
        flags: segment.flags,
        options: &tcp[crate::packet::TCP_HEADER_LEN..],
        payload: tcp::Payload {
            first: &frame[segment.data..segment.end.min(frame.len())],
            rest: frame.rest(),
            len: segment.end - segment.data,
        },
    }
}

/// The Ethernet address a frame came from.
#[inline(always)]
pub(super) fn source(frame: &[u8]) -> Mac {
    match frame.first_chunk::<12>() {
        Some(&[.., a, b, c, d, e, f]) => [a, b, c, d, e, f],
        None => [0; 6],
    }
}
