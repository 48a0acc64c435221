//! One TCP connection (RFC 9293), sans IO: segments and moments go in, segments come out. Start with [`Tcb`].
//!
//! The caller finds the connection of a segment, sums checksums, builds headers, keeps wakers and queues timers.
//!
//! | to read | about |
//! |---|---|
//! | `mod.rs`, `types.rs` | the connection and how it is opened and asked |
//! | `segment.rs`, `options.rs` | what goes in and out |
//! | `receive.rs`, `open.rs`, `payload.rs`, `holes.rs`, `window.rs` | a segment arrives: what belongs, what is kept, which window is told |
//! | `acknowledge.rs`, `recovery.rs`, `sack.rs`, `congestion.rs` | an acknowledgement arrives: losses, how much may fly |
//! | `send.rs`, `repeat.rs`, `bare.rs` | the next segment to send |
//! | `timers.rs` | what happens when nothing happens |
//! | `user.rs` | reading, writing, closing |
//! | `ring.rs`, `budget.rs`, `tuning.rs` | memory and numbers |

mod acknowledge;
mod bare;
mod budget;
mod congestion;
mod holes;
mod open;
mod options;
mod payload;
mod receive;
mod recovery;
mod repeat;
mod ring;
mod sack;
mod segment;
mod send;
#[cfg(test)]
mod tests;
mod timers;
mod tuning;
mod types;
mod user;
mod window;

pub(crate) use budget::Budget;
pub(crate) use options::{Options, SynOptions};
pub(crate) use segment::{Outgoing, Payload, Segment, flag};
pub(crate) use types::{Gone, Info, Opened, Outcome, ReadResult, Settings, State, WriteResult};

use alloc::boxed::Box;
use holes::Holes;
use recovery::Recovery;
use ring::Ring;
use segment::span;
use timers::Timer;
use tuning::{RTO_INITIAL, SEND_INITIAL};
use unikernel_rt::time::{Duration, Instant};

/// What [`Tcb::next_segment`] may find to do, as bits of `Tcb::pending`.
mod pending {
    /// Data, a FIN, or something to send again.
    pub(super) const DATA: u8 = 1;
    /// An acknowledgement, without data if need be.
    pub(super) const ACK: u8 = 2;
    /// The SYN or SYN|ACK.
    pub(super) const SYN: u8 = 4;
    /// A segment that the peer must answer: an old sequence number and no data.
    pub(super) const PROBE: u8 = 8;
    /// A reset for an acknowledgement that answers no SYN of ours.
    pub(super) const RESET: u8 = 16;
}

/// A transmission control block: state, numbers, buffers and timers of one connection.
pub(crate) struct Tcb {
    state: State,
    /// Bits of [`pending`].
    pending: u8,
    /// Something of what was sent may be lost: `recovery` is in use.
    lossy: bool,
    /// Small segments wait while others are unacknowledged (RFC 9293, 3.7.4).
    nagle: bool,
    /// The user has closed; a FIN follows the data.
    fin_queued: bool,
    /// `snd_nxt` counts our FIN.
    fin_sent: bool,
    /// `rcv_nxt` counts the peer's FIN.
    fin_received: bool,
    /// A write found no room.
    write_blocked: bool,
    /// Both sides selectively acknowledge.
    sack: bool,
    /// A round trip is being measured, by `timed_seq` and `timed_at`.
    timing: bool,
    /// The tail was probed, and nothing was acknowledged since.
    tail_probed: bool,
    /// The next piece of data goes out even if it is small: the persist timer says so.
    overrides: bool,
    /// What runs on `timer_at`.
    timer: Timer,
    /// Timeouts in a row.
    backoff: u8,
    snd_scale: u8,
    rcv_scale: u8,
    /// Answers to strangers and probes since `answered_at`.
    answers: [u8; 2],
    /// Payload of a segment to send at most.
    mss: u16,
    /// What we announced.
    mss_in: u16,
    /// The longest payload received, at least the default MSS: every second segment of this length is acknowledged.
    mss_seen: u16,

    /// The oldest unacknowledged sequence number; the first byte of `tx`.
    snd_una: u32,
    /// The first never sent. Does not go back.
    snd_nxt: u32,
    /// The peer's window from `snd_una` on.
    snd_wnd: u32,
    /// The sequence number of the segment that told it.
    snd_wl1: u32,
    /// The largest window ever told.
    snd_wnd_max: u32,
    /// The next expected; the byte after the last of `rx`.
    rcv_nxt: u32,
    /// The right edge of the window told. Does not go back.
    rcv_edge: u32,
    /// `rcv_nxt` when we last acknowledged.
    rcv_acked: u32,

    rx: Ring,
    tx: Ring,
    /// `rx` and the window told take so much together at most; a power of two.
    rcv_limit: u32,
    /// `tx` takes so much at most; a power of two.
    snd_limit: u32,

    cwnd: u32,
    ssthresh: u32,
    /// Smoothed round trip and its variation, in microseconds; 0: not measured.
    srtt: u32,
    rttvar: u32,
    rto: u32,
    timed_seq: u32,
    timed_at: Instant,

    /// No later than the first of the timers but `ack_at`.
    wake_at: Instant,
    timer_at: Instant,
    ack_at: Instant,
    /// Keep-alive and idle buffers.
    slow_at: Instant,
    /// The last acceptable segment.
    heard_at: Instant,

    /// Out-of-order data, while there is any.
    holes: Option<Box<Holes>>,
    /// From the first sign of a loss on.
    recovery: Option<Box<Recovery>>,

    /// Where the application's reading was at `read_at`.
    read_seq: u32,
    read_at: Instant,
    /// Since when nothing was acknowledged, while `backoff` counts.
    stalled_at: Instant,
    /// In microseconds; the largest number: none.
    user_timeout: u64,
    keep_alive: Option<Duration>,
    answered_at: Instant,
    /// The sequence number of a [`pending::RESET`].
    reset_seq: u32,
    window_max: u32,
    send_max: u32,
    retransmits: u32,
    timeouts: u32,
    gone: Option<Gone>,
}

impl Tcb {
    #[inline]
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Why it is closed; None while it is not.
    pub(crate) fn gone(&self) -> Option<Gone> {
        self.gone
    }

    /// The next sequence number to send.
    pub(crate) fn snd_nxt(&self) -> u32 {
        self.snd_nxt
    }

    /// The next sequence number expected.
    pub(crate) fn rcv_nxt(&self) -> u32 {
        self.rcv_nxt
    }

    /// Whether [`next_segment`](Self::next_segment) may give something; false is certain.
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        self.pending != 0
    }

    pub(crate) fn info(&self) -> Info {
        Info {
            srtt: (self.srtt > 0).then(|| Duration::from_micros(self.srtt.into())),
            rto: Duration::from_micros(self.rto.into()),
            cwnd: self.cwnd,
            ssthresh: self.ssthresh,
            retransmits: self.retransmits,
            timeouts: self.timeouts,
        }
    }

    /// A connection in CLOSED with all numbers at their start.
    fn new(settings: &Settings, iss: u32, now: Instant) -> Tcb {
        Tcb {
            state: State::Closed,
            pending: 0,
            lossy: false,
            nagle: false,
            fin_queued: false,
            fin_sent: false,
            fin_received: false,
            write_blocked: false,
            sack: false,
            timing: false,
            tail_probed: false,
            overrides: false,
            timer: Timer::Off,
            backoff: 0,
            snd_scale: 0,
            rcv_scale: 0,
            answers: [0, 0],
            mss: settings.mss_out_max,
            mss_in: settings.mss_in,
            mss_seen: tuning::MSS_DEFAULT,
            snd_una: iss,
            snd_nxt: iss,
            snd_wnd: 0,
            snd_wl1: 0,
            snd_wnd_max: 0,
            rcv_nxt: 0,
            rcv_edge: 0,
            rcv_acked: 0,
            rx: Ring::default(),
            tx: Ring::default(),
            rcv_limit: tuning::WINDOW_INITIAL,
            snd_limit: SEND_INITIAL,
            cwnd: 0,
            ssthresh: u32::MAX,
            srtt: 0,
            rttvar: 0,
            rto: RTO_INITIAL,
            timed_seq: 0,
            timed_at: now,
            wake_at: Instant::FOREVER,
            timer_at: Instant::FOREVER,
            ack_at: Instant::FOREVER,
            slow_at: Instant::FOREVER,
            heard_at: now,
            holes: None,
            recovery: None,
            read_seq: 0,
            read_at: now,
            stalled_at: now,
            user_timeout: settings.user_timeout.map_or(u64::MAX, timers::micros),
            keep_alive: None,
            answered_at: now,
            reset_seq: 0,
            window_max: settings.window_max,
            send_max: settings.send_max,
            retransmits: 0,
            timeouts: 0,
            gone: None,
        }
    }

    /// Sequence numbers sent and not acknowledged.
    #[inline]
    fn flight(&self) -> u32 {
        span(self.snd_una, self.snd_nxt)
    }

    /// Bytes of `tx` never sent.
    #[inline]
    fn unsent(&self) -> u32 {
        if self.fin_sent { 0 } else { self.tx.len() as u32 - self.flight() }
    }

    /// A FIN is to be sent that never was.
    #[inline]
    fn fin_unsent(&self) -> bool {
        self.fin_queued && !self.fin_sent
    }

    /// What the peer may still send: the rest of the window told, up to its right edge.
    #[inline]
    fn rcv_wnd(&self) -> u32 {
        span(self.rcv_nxt, self.rcv_edge)
    }

    /// Ends the connection without a word.
    fn end(&mut self, gone: Gone) {
        self.state = State::Closed;
        self.gone = Some(gone);
        self.pending = 0;
        self.stop_timers();
        self.tx.consume(self.tx.len());
        self.holes = None;
        self.recovery = None;
        self.lossy = false;
    }
}
