//! What a connection is made of, asked for and answers with.

use super::tuning::{SCALE_MAX, WINDOW_INITIAL};
use unikernel_rt::time::Duration;

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
    pub(crate) fn syn_window(&self) -> u16 {
        self.window_max.min(WINDOW_INITIAL) as u16
    }

    /// The shift that a SYN tells, so that `window_max` can be told.
    pub(crate) fn own_scale(&self) -> u8 {
        (0..SCALE_MAX).find(|scale| self.window_max >> scale <= u32::from(u16::MAX)).unwrap_or(SCALE_MAX)
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
