//! Losses: noticing them, and what is sent again. One machine for RFC 6675 (with selective acknowledgements), RFC 6582
//! (without) and the retransmission timeout.
//!
//! Everything below `lost_end` that the peer does not hold counts as lost; of that, everything below `resent` was sent
//! again. So what is in the network is all that flies, less what the peer holds, less what is lost and not yet sent
//! again ([`Tcb::pipe`]), and new data and repeats share one bound.

use super::{
    Segment, Tcb,
    congestion::Cubic,
    options::{Block, sack_blocks},
    pending,
    sack::Scoreboard,
    segment::{after, later, span},
    tuning::{DUP_THRESHOLD, SACKED_MIN},
};
use alloc::boxed::Box;

/// What the sender does about losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing counts as lost.
    Open,
    /// Fast recovery.
    Fast,
    /// After a timeout.
    Timeout,
}

/// The sender's view of losses.
pub(super) struct Recovery {
    pub(super) phase: Phase,
    pub(super) sacked: Scoreboard,
    /// Without SACK: bytes that repeated acknowledgements say have left the network.
    left: u32,
    /// Repeated acknowledgements in a row.
    dup_acks: u32,
    lost_end: u32,
    resent: u32,
    /// The phase ends when this is acknowledged.
    until: u32,
    /// The first gap goes out next, whatever the congestion window says.
    pub(super) urgent: bool,
    /// `snd_nxt` when something was last sent again.
    resent_at: u32,
    /// The last segment goes out next, as a tail loss probe.
    pub(super) probes: bool,
    /// The end of a tail loss probe that nothing was heard about.
    pub(super) probe_end: Option<u32>,
    pub(super) cubic: Cubic,
}

impl Recovery {
    fn new(una: u32) -> Recovery {
        Recovery {
            phase: Phase::Open,
            sacked: Scoreboard::default(),
            left: 0,
            dup_acks: 0,
            lost_end: una,
            resent: una,
            until: una.wrapping_sub(1),
            urgent: false,
            resent_at: una,
            probes: false,
            probe_end: None,
            cubic: Cubic::default(),
        }
    }

    /// Whether nothing is known to be out of order.
    fn is_quiet(&self) -> bool {
        let idle = self.phase == Phase::Open && self.dup_acks == 0 && !self.urgent;
        idle && self.sacked.is_empty() && self.probe_end.is_none()
    }

    /// Forgets numbers that may be from long ago, at the first sign of trouble after a quiet time.
    fn refresh(&mut self, una: u32) {
        (self.lost_end, self.resent, self.resent_at) = (una, una, una);
        if span(self.until, una) > u32::MAX / 4 {
            self.until = una.wrapping_sub(1);
        }
    }

    /// The next gap to send again.
    pub(super) fn lost(&self, una: u32, nxt: u32, mss: u32) -> Option<Block> {
        if self.urgent {
            return self.sacked.gap(una, una.wrapping_add(mss.min(span(una, nxt))));
        }
        self.sacked.gap(later(self.resent, una), self.lost_end)
    }

    /// Something up to `end` was sent again.
    pub(super) fn on_resent(&mut self, end: u32, nxt: u32) {
        self.resent = later(self.resent, end);
        self.resent_at = nxt;
        self.urgent = false;
    }
}

impl Tcb {
    /// The losses' record, from the first one on.
    pub(super) fn recovery(&mut self) -> &mut Recovery {
        let (una, quiet) = (self.snd_una, !self.lossy);
        let recovery = self.recovery.get_or_insert_with(|| Box::new(Recovery::new(una)));
        if quiet {
            recovery.refresh(una);
        }
        recovery
    }

    /// Sequence numbers that are in the network.
    #[inline]
    pub(super) fn pipe(&self) -> u32 {
        match &self.recovery {
            Some(recovery) if self.lossy => self.flight().saturating_sub(self.missing(recovery)),
            _ => self.flight(),
        }
    }

    fn missing(&self, recovery: &Recovery) -> u32 {
        let lost = recovery.sacked.gaps_len(later(recovery.resent, self.snd_una), recovery.lost_end);
        recovery.sacked.len() + recovery.left + lost
    }

    /// Reads what an acknowledgement says about data above a gap, before `snd_una` moves.
    pub(super) fn note_sacked(&mut self, segment: &Segment<'_>, acked: u32, same_window: bool) {
        let (una, nxt) = (self.snd_una, self.snd_nxt);
        let bare = acked == 0 && segment.payload.len == 0 && una != nxt;
        if self.sack && una != nxt && !segment.options.is_empty() {
            let mut news = false;
            let blocks_max = (SACKED_MIN + self.flight() / u32::from(self.mss)) as usize;
            for block in sack_blocks(segment.options) {
                news |= self.recovery().sacked.insert(block, una, nxt, blocks_max);
            }
            if news && acked == 0 {
                self.recovery().dup_acks += 1;
            }
            self.lossy |= news;
        } else if !self.sack && bare && same_window && segment.flags & !super::flag::PSH == super::flag::ACK {
            self.on_dup_ack();
        }
    }

    /// Without SACK: the acknowledgement was caused by some segment above the gap (RFC 5681, 2).
    fn on_dup_ack(&mut self) {
        let (mss, flight) = (u32::from(self.mss), self.flight());
        let recovery = self.recovery();
        if recovery.phase == Phase::Timeout {
            return;
        }
        recovery.dup_acks += 1;
        recovery.left = (recovery.left + mss).min(flight.saturating_sub(mss));
        self.lossy = true;
    }

    /// `snd_una` has moved by `acked`.
    pub(super) fn recover(&mut self, acked: u32) {
        let (una, nxt, mss, sack) = (self.snd_una, self.snd_nxt, u32::from(self.mss), self.sack);
        let Some(recovery) = self.recovery.as_mut().filter(|_| self.lossy) else { return };
        recovery.sacked.advance(una);
        recovery.dup_acks = 0;
        recovery.urgent = false;
        recovery.resent = later(recovery.resent, una);
        recovery.lost_end = later(recovery.lost_end, una);
        if recovery.probe_end.is_some_and(|end| !after(end, una)) {
            recovery.probe_end = None;
        }
        recovery.left = recovery.left.saturating_sub(acked.saturating_sub(mss)).min(span(una, nxt));
        if recovery.phase != Phase::Open && !after(recovery.until, una) {
            recovery.phase = Phase::Open;
            recovery.left = 0;
            (recovery.lost_end, recovery.resent) = (una, una);
        } else if recovery.phase == Phase::Fast && !sack {
            // A partial acknowledgement: the next segment is lost, too (RFC 6582, 3.2).
            let end = una.wrapping_add(mss.min(span(una, nxt)));
            (recovery.lost_end, recovery.resent, recovery.urgent) = (end, una, true);
        } else if recovery.phase == Phase::Open {
            recovery.left = 0;
        }
        self.lossy = !recovery.is_quiet();
    }

    /// Decides whether something is lost.
    pub(super) fn judge_losses(&mut self) {
        if !self.lossy {
            return;
        }
        let (una, nxt, mss) = (self.snd_una, self.snd_nxt, self.mss);
        let Some(recovery) = &mut self.recovery else { return };
        if una == nxt {
            return;
        }
        let known = recovery.sacked.lost_end(mss);
        let probed = recovery.probe_end.and_then(|end| recovery.sacked.block_of(end.wrapping_sub(1)));
        let repeated = (recovery.dup_acks >= DUP_THRESHOLD).then(|| una.wrapping_add(mss.into()));
        for end in [known, probed.map(|block| block.0), repeated].into_iter().flatten() {
            let end = if after(end, nxt) { nxt } else { end };
            recovery.lost_end = later(recovery.lost_end, end);
        }
        if recovery.phase == Phase::Open && after(recovery.lost_end, una) && self.may_recover() {
            self.start_fast_recovery();
        } else {
            self.check_head();
        }
    }

    /// Without SACK, repeated acknowledgements may stem from what was sent again (RFC 6582, 3.2).
    fn may_recover(&self) -> bool {
        self.sack || self.recovery.as_ref().is_none_or(|recovery| after(self.snd_una, recovery.until))
    }

    fn start_fast_recovery(&mut self) {
        self.shrink_cwnd();
        self.cwnd = self.ssthresh;
        let (una, nxt) = (self.snd_una, self.snd_nxt);
        let recovery = self.recovery();
        recovery.phase = Phase::Fast;
        recovery.until = nxt;
        recovery.resent = una;
        recovery.urgent = true;
        self.pending |= pending::DATA;
    }

    /// When data sent after the last repeat has arrived and the first gap is still there, its repeat is lost: it is sent
    /// once more, where RFC 6675 would wait for the timer.
    fn check_head(&mut self) {
        let (una, mss) = (self.snd_una, u32::from(self.mss));
        let Some(recovery) = &mut self.recovery else { return };
        let threshold = recovery.resent_at.wrapping_add(DUP_THRESHOLD * mss);
        let resent = after(recovery.resent, una);
        if recovery.phase != Phase::Open && resent && recovery.sacked.end().is_some_and(|end| after(end, threshold)) {
            recovery.urgent = true;
        }
    }

    /// The timer says that nothing arrives any more.
    pub(super) fn start_timeout_recovery(&mut self) {
        if self.backoff == 0 {
            self.shrink_cwnd();
        }
        self.cwnd = self.mss.into();
        self.resend_all();
    }

    /// Takes everything that the peer does not hold for lost.
    pub(super) fn resend_all(&mut self) {
        let (una, nxt, insists) = (self.snd_una, self.snd_nxt, self.backoff > 0);
        let recovery = self.recovery();
        // A peer may forget what it only holds (RFC 2018, 8): one that holds the next byte, or does not go on.
        if insists || recovery.sacked.first().is_some_and(|block| block.0 == una) {
            recovery.sacked.clear();
        }
        recovery.phase = Phase::Timeout;
        recovery.left = 0;
        recovery.dup_acks = 0;
        (recovery.lost_end, recovery.resent, recovery.until) = (nxt, una, nxt);
        recovery.urgent = true;
        recovery.probe_end = None;
        self.lossy = true;
        self.timing = false;
        self.pending |= pending::DATA;
    }
}
