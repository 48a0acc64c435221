//! Lets flows send, and finds out when to look at them again.

use super::Net;
use crate::{
    flow::{Flow, Path},
    header::Fields,
    interface::Interface,
    limits::{BYTES_PER_TURN, DEVICE_SEGMENTS_LEN_MAX, SILENCES_MAX},
    tcp::Outgoing,
};
use unikernel_rt::time::Instant;

impl Net {
    #[inline]
    pub(super) fn run_timers(&mut self, now: Instant) {
        while let Some(id) = self.timers.pop(now) {
            self.flows[id as usize].timer_at = Instant::FOREVER;
            self.settle(id, now);
        }
    }

    /// Looks at the flows that were dirty when it began; those that become dirty now come next time.
    #[inline]
    pub(super) fn settle_dirty(&mut self, now: Instant) {
        for _ in 0..self.dirty.len() {
            let Some(id) = self.dirty.pop_front() else { return };
            if let Some(flow) = self.flows.get_mut(id as usize)
                && flow.dirty
            {
                flow.dirty = false;
                self.settle(id, now);
            }
        }
    }

    #[inline]
    fn settle(&mut self, id: u32, now: Instant) {
        let flow = &mut self.flows[id as usize];
        self.counters.flow_polls += 1;
        if now >= flow.limit_at {
            return self.expire(id);
        }
        if now >= flow.tcb.next_moment() {
            let outcome = flow.tcb.on_time(now);
            flow.wake(&outcome);
            if outcome.closed {
                return self.changed(id, now);
            }
            if flow.tcb.silences() >= SILENCES_MAX {
                self.find_way(id);
            }
        }
        let flow = &mut self.flows[id as usize];
        let interface = &mut self.interfaces[usize::from(flow.interface)];
        let mut len = 0;
        let mut pause = false;
        while flow.tcb.has_output() {
            pause = interface.link.is_full() || len >= BYTES_PER_TURN;
            if pause {
                break;
            }
            let Some(outgoing) = flow.tcb.next_segment(interface.payload_max(flow.key.is_v4()), now) else { break };
            len += outgoing.len as usize;
            send(flow, &outgoing, interface);
        }
        if pause {
            self.mark_dirty(id);
        }
        self.look_again(id);
    }

    /// The peer is silent: perhaps the way its packets came is no way to it any more.
    #[cold]
    fn find_way(&mut self, id: u32) {
        let flow = &self.flows[id as usize];
        let way = self.interfaces[usize::from(flow.interface)].route(flow.key.peer.into());
        if let Some((_, next_hop, _)) = way {
            let flow = &mut self.flows[id as usize];
            flow.path = Path::Resolve(next_hop);
            flow.path_is_trusted = false;
        }
    }

    /// Makes sure that the flow is looked at when something is due.
    #[inline]
    pub(super) fn look_again(&mut self, id: u32) {
        let flow = &mut self.flows[id as usize];
        let at = flow.tcb.next_moment().min(flow.limit_at);
        // An earlier look finds out.
        if at < flow.timer_at {
            flow.timer_at = at;
            self.timers.set(id, at);
        }
    }
}

/// Puts a segment into a frame and sends it.
#[inline]
pub(super) fn send(flow: &mut Flow, outgoing: &Outgoing, interface: &mut Interface) {
    let fields = Fields {
        sequence: outgoing.seq,
        acknowledgement: outgoing.ack,
        flags: outgoing.flags,
        window: outgoing.window,
        options: &outgoing.options,
        data_len: outgoing.len as usize,
        segment_len: outgoing.segment_len,
    };
    let (mut frame, data) = flow.header.frame(&fields);
    if fields.data_len > 0 {
        flow.tcb.copy_payload(outgoing, &mut frame[data..]);
    }
    flow.header.seal(&mut frame, &fields, interface.link.offloads().tx_checksum);
    match flow.path {
        Path::Known => interface.link.send(frame),
        Path::Resolve(next_hop) => interface.send_via(next_hop, frame),
    }
}

impl Interface {
    /// The most data one frame may carry: whole packets of the link, unless the device cuts them.
    #[inline]
    pub(super) fn payload_max(&self, is_v4: bool) -> usize {
        let offloads = self.link.offloads();
        let cuts = if is_v4 { offloads.segmentation_v4 } else { offloads.segmentation_v6 };
        if cuts { DEVICE_SEGMENTS_LEN_MAX } else { 0 }
    }
}
