//! Received frames: to their flow, to a listener, or to nobody.

use super::Net;
use crate::{
    engine::{Path, State},
    flow::{Flow, Stage},
    flow_map::Slot,
    limits::{FRAMES_PER_TURN, HALF_OPEN_TIME_MAX},
    packet::{Mac, Packet, Reason, Segment, classify},
    time_wait::Verdict,
};
use core::net::Ipv4Addr;
use unikernel_rt::{device::Frame, time::Instant};

impl Net {
    /// Takes up to a budget of frames. True when there may be more.
    pub(super) fn receive(&mut self, now: Instant) -> bool {
        for _ in 0..FRAMES_PER_TURN {
            let Some(frame) = self.link.receive() else { return false };
            self.ingress(&frame, now);
        }
        true
    }

    fn ingress(&mut self, frame: &Frame, now: Instant) {
        match classify(frame, self.link.mac()) {
            Packet::Tcp(segment) => self.tcp(frame, &segment, now),
            Packet::Arp => self.arp(frame, now),
            Packet::Icmp(address, end) if self.is_own(address) => {
                self.engine.receive_for_nobody(&mut self.link, frame, end, now)
            }
            Packet::Icmp(..) => self.count_drop(Reason::Foreign),
            Packet::Dhcp => self.dhcp(frame, now),
            Packet::Drop(reason) => self.count_drop(reason),
        }
    }

    fn is_own(&self, address: Ipv4Addr) -> bool {
        self.address.is_some_and(|own| own.address() == address)
    }

    fn count_drop(&mut self, reason: Reason) {
        let drops = &mut self.counters.drops;
        *match reason {
            Reason::Foreign => &mut drops.foreign,
            Reason::Malformed => &mut drops.malformed,
            Reason::Fragment => &mut drops.fragments,
            Reason::Checksum => &mut drops.checksum,
        } += 1;
    }

    fn arp(&mut self, frame: &Frame, now: Instant) {
        self.engine.receive_arp(&mut self.link, frame, now);
        // It may be the answer that somebody waits for.
        while let Some(id) = self.unresolved.pop() {
            if let Some(flow) = self.flows.get_mut(id as usize) {
                flow.wrote = true;
                self.mark_dirty(id);
            }
        }
        if self.lease.is_some() {
            self.lease_due = now;
        }
    }

    fn dhcp(&mut self, frame: &Frame, now: Instant) {
        match &mut self.lease {
            Some(lease) => {
                lease.receive(&mut self.engine, &mut self.link, frame, now);
                self.lease_due = now;
            }
            None => self.count_drop(Reason::Foreign),
        }
    }

    #[inline]
    fn tcp(&mut self, frame: &Frame, segment: &Segment, now: Instant) {
        match self.map.get(&segment.key) {
            Some(Slot::Flow(id)) => self.deliver(id, frame, segment, now),
            Some(Slot::TimeWait(number)) => self.late(number, frame, segment, now),
            None => self.unknown(frame, segment, now),
        }
    }

    #[inline]
    fn deliver(&mut self, id: u32, frame: &Frame, segment: &Segment, now: Instant) {
        let flow = &mut self.flows[id as usize];
        let before = flow.tcb.look();
        self.counters.flow_polls += 1;
        if before.0 != State::Established && only_fin_is_missing(flow, before, frame, segment) {
            return;
        }
        flow.sending.is_probing = segment.closes_window(frame);
        if flow.sending.is_probing && flow.sending.awaits_more_than(segment.acknowledgement(frame)) {
            let ajar = segment.with_window_ajar(frame);
            self.engine.receive(&mut self.link, flow, &ajar, segment.end, now);
        } else {
            self.engine.receive(&mut self.link, flow, frame, segment.end, now);
        }
        let after = flow.tcb.look();
        let advanced = before != after;
        if flow.path == Path::Known(source(frame)) {
            flow.path_is_trusted |= advanced;
        } else {
            reroute(flow, frame, advanced);
        }
        if after.0 != State::Established || flow.stage != Stage::Owned {
            self.changed(id, after.0, frame, segment, now);
        } else if after.1 != before.1 || after.2 > 0 {
            self.mark_dirty(id);
        }
        // A bare acknowledgement of everything leaves nothing to send; its timer, if one is queued, comes early
        // and finds that out.
    }

    /// A segment of a connection that is over.
    fn late(&mut self, number: u32, frame: &Frame, segment: &Segment, now: Instant) {
        let slot = Slot::TimeWait(number);
        let Some(record) = self.time_wait.get(number) else {
            self.map.remove(&segment.key, slot);
            return self.unknown(frame, segment, now);
        };
        match record.judge(segment.opens(), segment.is_reset(), segment.sequence(frame)) {
            Verdict::Ignore => {}
            Verdict::Acknowledge => {
                let reply = segment.acknowledge(frame, record.sequence, record.acknowledgement);
                self.link.send(reply);
            }
            verdict @ (Verdict::Reopen | Verdict::Forget) => {
                self.time_wait.forget(number);
                self.map.remove(&segment.key, slot);
                if verdict == Verdict::Reopen {
                    self.unknown(frame, segment, now);
                }
            }
        }
    }

    fn unknown(&mut self, frame: &Frame, segment: &Segment, now: Instant) {
        if !self.is_own(*segment.key.local().ip()) {
            return self.count_drop(Reason::Foreign);
        }
        if segment.opens() && self.listeners.contains_key(&segment.key.local_port()) {
            return self.open(frame, segment, now);
        }
        self.counters.drops.unmatched += 1;
        self.engine.receive_for_nobody(&mut self.link, frame, segment.end, now);
    }

    /// A SYN to a listener: its flow begins here, within the bounds.
    fn open(&mut self, frame: &Frame, segment: &Segment, now: Instant) {
        let port = segment.key.local_port();
        let waiting = self.listeners.get(&port).map_or(0, |backlog| backlog.ready.len());
        if waiting >= self.backlog_max {
            self.counters.drops.backlog += 1;
            return;
        }
        let full = self.flows.len() >= self.limits.connections;
        if (full || self.half_open.len() >= self.limits.half_open)
            && let Some(oldest) = self.half_open.oldest()
        {
            self.counters.drops.half_open += 1;
            self.free(oldest);
        } else if full {
            self.counters.drops.connections += 1;
            return;
        }
        let (mut tcb, size) = self.take_tcb();
        tcb.listen(port);
        let path = Path::Known(source(frame));
        let flow = Flow::new(tcb, size, segment.key, path, Stage::HalfOpen, now + HALF_OPEN_TIME_MAX);
        let id = self.flows.insert(flow) as u32;
        self.map.insert(segment.key, Slot::Flow(id));
        self.half_open.push(&mut self.flows, id);
        self.deliver(id, frame, segment, now);
    }
}

/// Whether this says once more that everything arrived but our FIN. Three such acknowledgements make smoltcp 0.14 begin a
/// fast retransmission, for which it has no data, and it stops the timer that would have sent the FIN again; so
/// it must not see them.
fn only_fin_is_missing(flow: &Flow, before: (State, usize, usize), frame: &Frame, segment: &Segment) -> bool {
    matches!(before.0, State::FinWait1 | State::Closing | State::LastAck)
        && before.2 == 0
        && segment.is_bare_acknowledgement(frame)
        && flow.sending.ends_after(segment.acknowledgement(frame))
}

/// A packet came another way than the last. A gateway may fail over; but a stranger who does not know the sequence
/// numbers must not pull a connection to himself, nor a single garbled header lead it astray. So it takes a
/// packet that TCP accepted to doubt the old way, and another packet to leave it.
#[cold]
fn reroute(flow: &mut Flow, frame: &Frame, advanced: bool) {
    match (flow.path_is_trusted, advanced) {
        (true, true) => flow.path_is_trusted = false,
        (true, false) => {}
        (false, _) => flow.path = Path::Known(source(frame)),
    }
}

#[inline]
fn source(frame: &[u8]) -> Mac {
    frame[6..12].try_into().expect("six bytes")
}
