//! One TCP connection (RFC 9293), sans IO: segments and moments go in, segments come out. Start with [`Tcb`].
//!
//! The caller finds the connection of a segment, sums checksums, builds headers, keeps wakers and queues timers.
//!
//! | to read | about |
//! |---|---|
//! | `mod.rs` | the connection and how it is opened, closed and asked |
//! | `segment.rs`, `options.rs` | what goes in and out |
//! | `receive.rs` | a segment arrives: what belongs, what is kept, which window is told |
//! | `acknowledge.rs`, `sack.rs`, `congestion.rs` | an acknowledgement arrives: round trips, losses, how much may fly |
//! | `send.rs` | the next segment to send |
//! | `timers.rs` | what happens when nothing happens |
//! | `ring.rs`, `budget.rs` | memory |

mod budget;
mod options;
mod ring;
mod segment;

pub(crate) use budget::Budget;
pub(crate) use options::{Options, SynOptions};
pub(crate) use segment::{Outgoing, Payload, Segment, flag};

use unikernel_rt::time::{Duration, Instant};

/// What does not change during a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Payload of the longest segment this side takes: what it announces.
    pub(crate) mss_in: u16,
    /// Payload of the longest segment this side can send.
    pub(crate) mss_out_max: u16,
    /// The receive window may grow to this, in bytes.
    pub(crate) window_max: u32,
    /// The send buffer may grow to this, in bytes.
    pub(crate) send_max: u32,
    pub(crate) user_timeout: Option<Duration>,
}

impl Settings {
    /// The window that a SYN or SYN|ACK tells; those are never scaled.
    pub(crate) const fn syn_window(&self) -> u16 {
        todo!()
    }

    /// The shift that a SYN tells, so that `window_max` can be told.
    pub(crate) const fn own_scale(&self) -> u8 {
        todo!()
    }
}

/// What a handshake agreed on, as [`Tcb::established`] wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opened {
    /// Initial sequence number of this side.
    pub(crate) iss: u32,
    /// Initial sequence number of the peer.
    pub(crate) irs: u32,
    /// The peer's window, in bytes, scaled already.
    pub(crate) window: u32,
    /// The peer's MSS option, if its SYN had one.
    pub(crate) mss: Option<u16>,
    /// The peer's window scale, if its SYN had one.
    pub(crate) peer_scale: Option<u8>,
    /// The scale that our SYN|ACK told: `Settings::own_scale`, or what a cookie remembers; 0 without `peer_scale`.
    pub(crate) own_scale: u8,
    /// Both sides said that they can selectively acknowledge.
    pub(crate) sack: bool,
    /// How long the handshake took, if nothing was sent twice.
    pub(crate) rtt: Option<Duration>,
}

/// RFC 9293, 3.3.2. LISTEN is the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    /// The caller keeps its record: [`Tcb::snd_nxt`] and [`Tcb::rcv_nxt`] say what to answer.
    TimeWait,
    Closed,
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The peer reset it; in SYN-SENT that is a refusal.
    Reset,
    /// Nothing was acknowledged for the user timeout, or no keep-alive probe was answered.
    TimedOut,
    /// This side aborted it, or closed it before it was open.
    Aborted,
    /// Both sides have closed and acknowledged.
    Finished,
}

/// What a segment or a moment changed for the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// There is something to read: data, the end, or an error.
    pub(crate) readable: bool,
    /// There is room to write again, or writing fails now.
    pub(crate) writable: bool,
    /// The handshake of [`Tcb::connect`] is done.
    pub(crate) established: bool,
    /// The state became TIME-WAIT or CLOSED: the caller can let the connection go.
    pub(crate) closed: bool,
}

/// What [`Tcb::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadResult {
    /// So many bytes, not zero (unless the buffer is empty).
    Data(usize),
    /// Nothing now; more may come.
    NotYet,
    /// The peer's FIN; everything before it was read.
    Finished,
    Gone(Gone),
}

/// What [`Tcb::write`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteResult {
    /// So many bytes; 0: full, and [`Outcome::writable`] will say when not.
    Taken(usize),
    /// This side has closed.
    Closed,
    Gone(Gone),
}

/// For statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) srtt: Option<Duration>,
    pub(crate) rto: Duration,
    pub(crate) cwnd: u32,
    pub(crate) ssthresh: u32,
    /// Segments sent again, in this connection's life.
    pub(crate) retransmits: u32,
    /// Retransmission timeouts.
    pub(crate) timeouts: u32,
}

/// A transmission control block.
pub(crate) struct Tcb {}

impl Tcb {
    /// Opens actively: SYN-SENT, and the SYN is the next segment.
    pub(crate) fn connect(settings: &Settings, iss: u32, now: Instant) -> Tcb {
        todo!()
    }

    /// A connection whose handshake the caller has done; called when the last ACK arrives. That segment then goes to
    /// [`on_segment`](Self::on_segment), too, as it may carry data.
    pub(crate) fn established(settings: &Settings, opened: &Opened, now: Instant) -> Tcb {
        todo!()
    }

    pub(crate) fn state(&self) -> State {
        todo!()
    }

    /// Why it is closed, in CLOSED and TIME-WAIT.
    pub(crate) fn gone(&self) -> Option<Gone> {
        todo!()
    }

    /// The next sequence number to send.
    pub(crate) fn snd_nxt(&self) -> u32 {
        todo!()
    }

    /// The next sequence number expected.
    pub(crate) fn rcv_nxt(&self) -> u32 {
        todo!()
    }

    /// Takes in a segment.
    pub(crate) fn on_segment(&mut self, segment: &Segment<'_>, now: Instant, budget: &mut Budget) -> Outcome {
        todo!()
    }

    /// The next segment that should go out now, with at most `payload_max` bytes of payload (more than one segment's
    /// when the device splits). Counts as sent; call again until None.
    pub(crate) fn next_segment(&mut self, payload_max: usize, now: Instant) -> Option<Outgoing> {
        todo!()
    }

    /// Copies the payload of `outgoing` to `into`, which has `outgoing.len` bytes.
    pub(crate) fn copy_payload(&self, outgoing: &Outgoing, into: &mut [u8]) {
        todo!()
    }

    /// Does what is due. Harmless when nothing is.
    pub(crate) fn on_time(&mut self, now: Instant) -> Outcome {
        todo!()
    }

    /// When [`on_time`](Self::on_time) wants to be called: no later than the first deadline, possibly earlier. Stays
    /// the same over many segments, so that the caller's timer need not move.
    pub(crate) fn next_moment(&self) -> Instant {
        todo!()
    }

    /// Whether [`next_segment`](Self::next_segment) may give something; false is certain.
    pub(crate) fn has_output(&self) -> bool {
        todo!()
    }

    /// Takes received data.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> ReadResult {
        todo!()
    }

    /// Received data, as far as it lies in one piece.
    pub(crate) fn readable(&self) -> &[u8] {
        todo!()
    }

    /// Drops the first `len` bytes of what was received.
    pub(crate) fn consume(&mut self, len: usize) {
        todo!()
    }

    /// Takes data to send.
    pub(crate) fn write(&mut self, data: &[u8], budget: &mut Budget) -> WriteResult {
        todo!()
    }

    /// Bytes written and not acknowledged.
    pub(crate) fn unacknowledged_len(&self) -> usize {
        todo!()
    }

    /// Sends a FIN after what was written. Reading goes on.
    pub(crate) fn close(&mut self) {
        todo!()
    }

    /// Ends the connection at once. Gives the RST that tells the peer, when it has one to tell.
    pub(crate) fn abort(&mut self) -> Option<Outgoing> {
        todo!()
    }

    /// Off by default is Nagle's delay (RFC 9293, 3.7.4): small segments wait while others are unacknowledged.
    pub(crate) fn set_nodelay(&mut self, nodelay: bool) {
        todo!()
    }

    /// Asks the peer for a sign of life after this silence, and three more times; then the connection is dead.
    pub(crate) fn set_keep_alive(&mut self, interval: Option<Duration>, now: Instant) {
        todo!()
    }

    /// How long data may stay unacknowledged (RFC 5482).
    pub(crate) fn set_user_timeout(&mut self, timeout: Option<Duration>) {
        todo!()
    }

    /// The path takes segments of this payload at most.
    pub(crate) fn on_mtu(&mut self, mss_out_max: u16, now: Instant) {
        todo!()
    }

    pub(crate) fn info(&self) -> Info {
        todo!()
    }

    /// Frees what an idle connection does not need.
    pub(crate) fn trim(&mut self, budget: &mut Budget) {
        todo!()
    }

    /// Gives everything back to the budget; to be called before the connection is dropped.
    pub(crate) fn release(&mut self, budget: &mut Budget) {
        todo!()
    }
}
