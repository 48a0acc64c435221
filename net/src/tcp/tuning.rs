//! Every number of the connection's behaviour, with its reason. Times are in microseconds.

/// The receive window at first, in bytes, and what every connection may use without asking the budget: a large
/// request or eleven full segments.
pub(super) const WINDOW_INITIAL: u32 = 16 * 1024;

/// The send buffer's bound at first, in bytes: more than the initial congestion window.
pub(super) const SEND_INITIAL: u32 = 16 * 1024;

/// The largest window shift (RFC 7323, 2.3); more counts as this.
pub(super) const SCALE_MAX: u8 = 14;

/// The peer's MSS when its SYN does not say (RFC 9293, 3.7.1).
pub(super) const MSS_DEFAULT: u16 = 536;

/// A peer that asks for less gets this, as in FreeBSD (`net.inet.tcp.minmss`): tiny segments would make it cheap to
/// have us send packets. Every IPv4 path takes datagrams of 576 bytes.
pub(super) const MSS_MIN: u16 = 216;

/// Retransmission timeout before the first round trip was measured (RFC 6298, 2.1).
pub(super) const RTO_INITIAL: u32 = 1_000_000;

/// What the timeout exceeds the smoothed round trip by at least. RFC 6298 says 1 s in all; Linux 200 ms like this.
pub(super) const RTO_VARIANCE_MIN: u32 = 200_000;

/// The longest time between two retransmissions or probes (RFC 6298, 2.5).
pub(super) const RTO_MAX: u64 = 60_000_000;

/// How long an acknowledgement may wait for data to go along, as in Linux; RFC 9293, 3.8.6.3 allows 500 ms.
pub(super) const ACK_DELAY: u64 = 40_000;

/// The shortest wait for a tail loss probe: Linux's two ticks of 1 ms.
pub(super) const PROBE_WAIT_MIN: u32 = 2_000;

/// Acknowledgements to segments that do not belong, in [`ANSWER_PERIOD`] (RFC 5961, 7).
pub(super) const ANSWERS_MAX: u8 = 10;

/// See [`ANSWERS_MAX`].
pub(super) const ANSWER_PERIOD: u64 = 5_000_000;

/// Silent keep-alive intervals after which a peer is dead: three probes went unanswered.
pub(super) const KEEP_ALIVE_INTERVALS: u64 = 4;

/// A connection silent for this long keeps no large drained buffers.
pub(super) const IDLE_RELEASE: u64 = 1_000_000;

/// Acknowledgements that say the same until the segment after them counts as lost (RFC 5681, 3.2).
pub(super) const DUP_THRESHOLD: u32 = 3;

/// Separate pieces of received data above a gap that are kept: so many, and one more for each
/// [`PIECE_SHARE`] bytes of the window, so that their record takes less than 1 % of what is promised anyway.
pub(super) const PIECES_MIN: usize = 32;

/// See [`PIECES_MIN`]. When a queue overflows, every other segment is lost.
pub(super) const PIECE_SHARE: u32 = 2048;

/// Separate pieces that the peer has selectively acknowledged: so many, and one more for each segment that flies. What
/// does not fit is sent again.
pub(super) const SACKED_MIN: u32 = 64;

/// The shortest time in which the application's reading is measured.
pub(super) const READ_PERIOD_MIN: u32 = 1_000;
