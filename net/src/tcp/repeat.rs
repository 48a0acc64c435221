//! What is sent again.

use super::{
    Options, Outgoing, Tcb,
    segment::{after, later, span},
    timers::Timer,
};
use unikernel_rt::time::Instant;

impl Tcb {
    /// Something that was sent before, if it is lost and may go out.
    #[inline(never)]
    pub(super) fn next_repeat(
        &mut self,
        payload_max: u32,
        mss: u32,
        options: Options,
        now: Instant,
    ) -> Option<Outgoing> {
        let (una, nxt) = (self.snd_una, self.snd_nxt);
        let (pipe, cwnd) = (self.pipe(), self.cwnd);
        let recovery = self.recovery.as_mut().filter(|_| una != nxt)?;
        if core::mem::take(&mut recovery.probes) {
            let first = later(una, nxt.wrapping_sub(mss));
            return Some(self.repeat(first, nxt, mss, mss, options).0);
        }
        let urgent = recovery.urgent;
        let (first, end) = recovery.lost(una, nxt, mss)?;
        let room = if urgent { mss } else { cwnd.saturating_sub(pipe) };
        let window = match self.snd_wnd.saturating_sub(span(una, first)) {
            // The peer took its window back: the first segment probes it.
            0 if first == una => mss,
            window => window,
        };
        let len = span(first, end).min(payload_max.max(mss)).min(window);
        if len == 0 || room < len.min(mss) {
            return None;
        }
        let len = len.min(room);
        let len = if len > mss { len - len % mss } else { len };
        let (outgoing, sent) = self.repeat(first, end, len, mss, options);
        self.recovery().on_resent(sent, nxt);
        if self.timer != Timer::Retransmit || first == una {
            self.start_retransmit_timer(now);
        }
        Some(outgoing)
    }

    /// Sends up to `len_max` of `first..end` again; also says where that ends.
    fn repeat(&mut self, first: u32, end: u32, len_max: u32, mss: u32, options: Options) -> (Outgoing, u32) {
        let data_end = self.snd_una.wrapping_add(self.tx.len() as u32);
        let data = if after(data_end, first) { span(first, data_end) } else { 0 };
        let len = data.min(len_max).min(span(first, end));
        let fin = self.fin_sent && len == data && after(end, data_end);
        let outgoing = self.segment(first, len, fin, mss, options);
        self.retransmits = self.retransmits.saturating_add(len.div_ceil(mss).max(1));
        self.timing = false;
        (outgoing, first.wrapping_add(len + u32::from(fin)))
    }
}
