//! Connections that come in: SYNs are answered from a bounded table, or from nothing at all (SYN cookies), and become
//! flows when the handshake is done.

use super::{Net, ingress::source};
use crate::{
    flow::{Flow, Path, Stage},
    flow_map::Slot,
    half_open::{Handshake, Overdue},
    header::{Fields, Template},
    numbers::COOKIE_PERIOD,
    packet::{ACK, FIN, RST, SYN, Segment},
    tcp::{Opened, Options, SynOptions, Tcb},
};
use unikernel_rt::{device::Frame, time::Instant};

/// What a peer takes that does not say (RFC 9293, 3.7.1); over IPv6 it would take 1220.
const MSS_DEFAULT: u16 = 536;

impl Net {
    /// A SYN to a listener.
    pub(super) fn open(&mut self, index: usize, frame: &Frame, segment: &Segment, now: Instant) {
        if !self.may_open(segment) {
            return;
        }
        let syn = SynOptions::parse(&frame[segment.tcp + crate::packet::TCP_HEADER_LEN..segment.data]);
        let mut handshake = Handshake {
            key: segment.key,
            interface: index as u8,
            path: source(frame),
            peer_sequence: segment.sequence,
            sequence: 0,
            mss: syn.mss.unwrap_or(MSS_DEFAULT),
            scale: syn.scale,
            takes_sack: syn.sack,
            sent: now,
            repeats: 0,
        };
        if self.half_open.is_full() {
            self.cookies_until = now + 2 * COOKIE_PERIOD;
            self.counters.cookies += 1;
            // A cookie has no bit of its own for selective acknowledgements: both or none.
            handshake.takes_sack = syn.sack && syn.scale.is_some();
            handshake.scale = syn.scale.filter(|_| syn.sack);
            let Handshake { key, peer_sequence, mss, scale, .. } = handshake;
            handshake.sequence = self.numbers.cookie(&key, peer_sequence, mss, scale, now);
        } else {
            handshake.sequence = self.numbers.initial(&segment.key, now);
            let id = self.half_open.insert(handshake);
            self.map.insert(segment.key, Slot::HalfOpen(id));
        }
        self.answer(&handshake);
    }

    /// Whether the bounds allow one more connection. A SYN over a bound is ignored: its sender tries again, when there
    /// may be room.
    fn may_open(&mut self, segment: &Segment) -> bool {
        let waiting = self.listeners.get(&segment.key.local_port()).map_or(0, |backlog| backlog.ready.len());
        let drops = &mut self.counters.drops;
        let counter = if waiting >= self.backlog_max {
            &mut drops.backlog
        } else if self.flows.len() >= self.limits.connections {
            &mut drops.connections
        } else if self.sources.count(segment.key.peer) >= self.limits.per_source {
            &mut drops.per_source
        } else if self.memory.is_low() {
            &mut drops.memory
        } else {
            return true;
        };
        *counter += 1;
        false
    }

    /// Sends the SYN|ACK.
    fn answer(&mut self, handshake: &Handshake) {
        let interface = &mut self.interfaces[usize::from(handshake.interface)];
        let settings = interface.settings(handshake.key.is_v4());
        let template = Template::new(&handshake.key, interface.link.mac(), handshake.path);
        let scale = handshake.scale.map(|_| settings.own_scale());
        let options = Options::Syn(SynOptions { mss: Some(settings.mss_in), scale, sack: handshake.takes_sack });
        let fields = Fields {
            sequence: handshake.sequence,
            acknowledgement: handshake.peer_sequence.wrapping_add(1),
            flags: SYN | ACK,
            window: settings.syn_window(),
            options: &options,
            data_len: 0,
            segment_len: u16::MAX,
        };
        let (mut frame, _) = template.frame(&fields);
        template.seal(&mut frame, &fields, interface.link.offloads().tx_checksum);
        interface.link.send(frame);
    }

    /// A segment for a handshake that is remembered.
    pub(super) fn shake(&mut self, id: u32, frame: &Frame, segment: &Segment, now: Instant) {
        let Some(handshake) = self.half_open.get(id).copied() else {
            self.map.remove(&segment.key, Slot::HalfOpen(id));
            return;
        };
        let expected = handshake.peer_sequence.wrapping_add(1);
        match segment.flags & (SYN | ACK | RST) {
            // The peer takes its SYN back; a stranger cannot know the number (RFC 5961, 3).
            RST | 0x14 if segment.sequence == expected => self.forget_handshake(id, &handshake),
            // It has not seen our answer yet.
            SYN if segment.sequence == handshake.peer_sequence => {
                let path = source(frame);
                self.half_open.set_path(id, path);
                self.answer(&Handshake { path, ..handshake });
            }
            ACK if segment.acknowledgement == handshake.sequence.wrapping_add(1) => {
                let distance = segment.sequence.wrapping_sub(expected);
                let handshake = Handshake { path: source(frame), ..handshake };
                if distance <= u32::from(u16::MAX) {
                    self.establish(Some(id), &handshake, frame, segment, now);
                }
            }
            ACK => self.refuse_segment(usize::from(handshake.interface), frame, segment, now),
            // Another SYN from the same port, or a reset by a stranger: an acknowledgement of what we know makes a peer
            // that knows nothing of it reset in the right place.
            _ => self.challenge(&handshake, now),
        }
    }

    fn challenge(&mut self, handshake: &Handshake, now: Instant) {
        if self.complaints.allow(now) {
            self.answer(handshake);
        }
    }

    fn forget_handshake(&mut self, id: u32, handshake: &Handshake) {
        self.half_open.remove(id);
        self.map.remove(&handshake.key, Slot::HalfOpen(id));
    }

    /// A segment that belongs to nothing: perhaps the end of a handshake that was not remembered. True when it was.
    pub(super) fn open_by_cookie(&mut self, index: usize, frame: &Frame, segment: &Segment, now: Instant) -> bool {
        if now >= self.cookies_until || segment.flags & (SYN | RST | ACK) != ACK {
            return false;
        }
        let sequence = segment.acknowledgement.wrapping_sub(1);
        let peer_sequence = segment.sequence.wrapping_sub(1);
        let Some(cookie) = self.numbers.read_cookie(&segment.key, peer_sequence, sequence, now) else { return false };
        let handshake = Handshake {
            key: segment.key,
            interface: index as u8,
            path: source(frame),
            peer_sequence,
            sequence,
            mss: cookie.mss,
            scale: cookie.scale,
            takes_sack: cookie.scale.is_some(),
            sent: now,
            // There is no telling when the answer left.
            repeats: 1,
        };
        if self.may_open(segment) {
            self.establish(None, &handshake, frame, segment, now);
        }
        true
    }

    /// The handshake is done: a flow begins, in the listener's queue.
    fn establish(&mut self, id: Option<u32>, handshake: &Handshake, frame: &Frame, segment: &Segment, now: Instant) {
        let port = handshake.key.local_port();
        let Some(backlog) = self.listeners.get(&port) else {
            if let Some(id) = id {
                self.forget_handshake(id, handshake);
            }
            return self.refuse_segment(usize::from(handshake.interface), frame, segment, now);
        };
        if backlog.ready.len() >= self.backlog_max || self.flows.len() >= self.limits.connections {
            // The peer repeats what it has to say; meanwhile there may be room.
            self.counters.drops.backlog += 1;
            return;
        }
        let flow = self.begin(handshake, segment.window, now);
        let flow = self.flows.insert(flow) as u32;
        self.counters.opened += 1;
        match id {
            Some(id) => {
                self.half_open.remove(id);
                self.map.replace(&handshake.key, Slot::Flow(flow));
            }
            None => self.map.insert(handshake.key, Slot::Flow(flow)),
        }
        self.sources.add(handshake.key.peer);
        self.enqueue(port, flow);
        if segment.end > segment.data || segment.flags & FIN != 0 {
            self.deliver(flow, frame, segment, now);
        }
        self.look_again(flow);
    }

    fn begin(&mut self, handshake: &Handshake, window: u16, now: Instant) -> Flow {
        let interface = &self.interfaces[usize::from(handshake.interface)];
        let settings = interface.settings(handshake.key.is_v4());
        let opened = Opened {
            iss: handshake.sequence,
            irs: handshake.peer_sequence,
            window: u32::from(window) << handshake.scale.unwrap_or(0),
            mss: Some(handshake.mss),
            peer_scale: handshake.scale,
            own_scale: handshake.scale.map_or(0, |_| settings.own_scale()),
            sack: handshake.takes_sack,
            rtt: (handshake.repeats == 0).then(|| now - handshake.sent),
        };
        let mut tcb = Tcb::established(&settings, &opened, now);
        tcb.equip(&mut self.budget);
        let header = Template::new(&handshake.key, interface.link.mac(), handshake.path);
        Flow::new(tcb, handshake.key, header, handshake.interface, Path::Known, Stage::Queued)
    }

    fn enqueue(&mut self, port: u16, flow: u32) {
        let backlog = self.listeners.get_mut(&port).expect("the caller has looked");
        backlog.ready.push_back(flow);
        if let Some(waker) = backlog.waker.take() {
            waker.wake();
        }
    }

    /// Answers again where the peer is silent.
    pub(super) fn run_handshakes(&mut self, now: Instant) {
        if now < self.half_open.next_moment() {
            return;
        }
        while let Some(overdue) = self.half_open.poll(now) {
            match overdue {
                Overdue::Repeat(handshake) => self.answer(&handshake),
                Overdue::GiveUp(key, id) => {
                    self.counters.drops.half_open += 1;
                    self.map.remove(&key, Slot::HalfOpen(id));
                }
            }
        }
    }
}
