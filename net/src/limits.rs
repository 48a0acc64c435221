//! Every bound of the stack, with its reason. Those a machine's owner may want to change are boot arguments.

use core::ops::RangeInclusive;
use unikernel_rt::time::Duration;

/// Frames received before other tasks get a turn: a batch shares one doorbell and one interrupt, and a full
/// batch of small requests takes about a tenth of a millisecond.
pub const FRAMES_PER_TURN: usize = 64;

/// What one flow may send before the next flow gets its turn, in bytes: a bulk transfer must not hold up small answers.
pub const BYTES_PER_TURN: usize = 128 * 1024;

/// The longest piece of data handed to a device that cuts it into segments. With headers it must stay below 65,536,
/// the length an IP header can say.
pub const DEVICE_SEGMENTS_LEN_MAX: usize = 65_535 - 100;

/// Places looked at for one page of the list of sockets: about a tenth of a millisecond.
pub const LIST_LOOKS_MAX: usize = 4096;

/// Frames that wait for the reader of one capture, in bytes: at full speed some milliseconds, in which it gets its turn.
pub const CAPTURE_MEMORY_MAX: usize = 1 << 20;

/// What a connection costs in all while it does nothing, rounded up: its state, table entries, and a small buffer each
/// way. A test sums it.
pub const CONNECTION_COST: usize = 10 * 1024;

/// Connections allowed when the heap's size is not known (on the workstation).
pub const CONNECTIONS_HOSTED: usize = 65_536;

/// The parts of the heap, in percent, that idle connections may fill at most. The rest is the application's, and the
/// windows'.
const CONNECTIONS_HEAP_PERCENT: usize = 50;

/// Fewer connections than this make no server; a heap too small for them fails with an out-of-memory report.
pub const CONNECTIONS_MIN: usize = 8;

/// The part of all connections, in percent, that one source (an IPv4 address, or a /64 network of IPv6) may have: one
/// proxy in front may need nearly all, but nobody may shut out all others. Boot argument `net.per-source=N`.
pub const PER_SOURCE_PERCENT: usize = 90;

/// The part of the heap, in percent, that windows larger than the smallest may promise and fill in all. Boot argument
/// `net.window-memory=BYTES`.
const WINDOWS_HEAP_PERCENT: usize = 20;

/// The same when the heap's size is not known.
const WINDOWS_HOSTED: usize = 1 << 30;

/// Handshakes remembered at once, over all listeners: about 150 bytes each. Beyond them nothing is remembered (SYN
/// cookies), which costs an honest client only the repetition of a lost answer. Boot argument `net.half-open=N`.
pub const HALF_OPEN_MAX: usize = 1024;

/// How long to wait for the last packet of a handshake: before the first repetition of our answer, before the second
/// and so on, and before giving up. Four repetitions, as by Linux, but not the minute after the fifth.
pub const SYN_ACK_DELAYS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];

/// Connections that wait for `accept`, per listener, unless the [`Config`](crate::Config) says otherwise.
/// A burst of clients in one turn must fit.
pub const BACKLOG: usize = 1024;

/// How long a lookup waits for the machine to have an address and to know a DNS server, where others tell it.
pub const CONFIGURE_TIME_MAX: Duration = Duration::from_secs(10);

pub use crate::{dns::limits as dns, race::ATTEMPT_DELAY, sntp::limits as sntp};

/// How long `connect` waits for an answer: five SYNs (after 0, 1, 3, 7 and 15 s).
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a closed connection that has delivered everything waits for the peer's FIN, without its owner. Linux
/// waits as long in FIN-WAIT-2. While data is left, [`USER_TIMEOUT`] counts instead, from each progress on.
pub const ORPHAN_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a machine that stops waits until its connections' last bytes have arrived: some retransmissions, and a peer that
/// is gone does not hold it up.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);

/// How long it may go on at all: a peer that takes a byte a minute must not hold its buffers for ever.
pub const ORPHAN_LIFE_MAX: Duration = Duration::from_secs(600);

/// What a peer may send to a connection that its owner has dropped before it is reset. Until then it is
/// acknowledged and thrown away, so that a client that is still sending gets to read the answer.
pub const ORPHAN_DISCARD_LEN_MAX: usize = 256 * 1024;

/// Data not acknowledged for this long ends the connection (RFC 5482's user timeout).
pub const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// Retransmissions in a row that bring no answer, until the way to the peer is looked up anew: its packets may have come
/// over a router that is gone.
pub const SILENCES_MAX: u8 = 2;

/// With keep-alive on, a peer silent for this many intervals is dead: three probes went unanswered.
pub const KEEP_ALIVE_INTERVALS: u32 = 4;

/// How long a closed connection's 4-tuple is remembered: a segment that is still on its way must not be taken
/// for one of a new connection. RFC 9293 says 4 minutes; Linux and everyone say less.
pub const TIME_WAIT: Duration = Duration::from_secs(10);

/// Remembered 4-tuples; the oldest goes first. An entry takes some 100 bytes.
pub const TIME_WAIT_MAX: usize = 8192;

/// No new connections while less than this part of the heap is free; those that exist go on.
pub const LOW_MEMORY_PERCENT: usize = 5;

/// Nor while fewer bytes than this are free: a few connections' buffers.
pub const LOW_MEMORY_MIN: usize = 64 * 1024;

/// Complaints to strangers (resets, unreachable messages, challenge acknowledgements to connections that are over) per
/// second: enough to tell honest peers, too few to be worth reflecting traffic by.
pub const COMPLAINTS_PER_SECOND: u32 = 1000;

/// Datagrams a socket holds until they are received; the newest are dropped.
pub const DATAGRAMS_MAX: usize = 256;

/// The same in bytes of memory.
pub const DATAGRAM_MEMORY_MAX: usize = 256 * 1024;

/// Groups a socket may join.
pub const GROUPS_MAX: usize = 16;

/// The largest receive window. A path of 1 Gbit/s and 32 ms is full with it; windows grow with use, and all together
/// within `net.window-memory`.
pub const RECEIVE_WINDOW_MAX: u32 = 4 << 20;

/// The largest send buffer; it grows with the congestion window.
pub const SEND_BUFFER_MAX: u32 = 4 << 20;

/// Packets of configuration protocols that wait for the end of a turn; more are lost.
pub const PUT_ASIDE_MAX: usize = 64;

/// Packets that wait for the end of a turn to be sent to a neighbour.
pub const UNRESOLVED_MAX: usize = 256;

/// Packets that are put together from fragments at once. A forger who guesses identifications can only spoil these.
pub const FRAGMENTED_MAX: usize = 16;

/// How long to wait for the missing fragments (RFC 8200, 4.5 says 60 s; Linux 30 s for IPv4).
pub const FRAGMENT_TIME_MAX: Duration = Duration::from_secs(15);

/// Fragments one packet may come in: of 65,535 bytes in pieces of 1280 there are 53.
pub const FRAGMENTS_MAX: usize = 64;

/// When to tell the log that no address was found; a healthy network takes milliseconds.
pub const DHCP_PATIENCE: Duration = Duration::from_secs(3);

/// Ports for outgoing connections (RFC 6335, section 6).
pub const EPHEMERAL_PORTS: RangeInclusive<u16> = 49_152..=65_535;

/// Random tries for a free port before `connect` gives up: with half of the ports in use, one in a billion fails.
pub const PORT_TRIES_MAX: usize = 30;

/// The bounds that depend on the machine.
///
/// ```
/// use unikernel_net::limits::{Bounds, Limits};
///
/// let megabyte = 1 << 20;
/// let small = Limits::new(64 * megabyte, Bounds::default());
/// let large = Limits::new(256 * megabyte, Bounds::default());
/// assert!(large.connections > 3 * small.connections);
///
/// // `net.connections=100`: one source may have nearly all of them.
/// let few = Limits::new(64 * megabyte, Bounds { connections: Some(100), ..Bounds::default() });
/// assert_eq!((few.connections, few.per_source), (100, 90));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all states.
    pub connections: usize,
    /// Of these, from one source.
    pub per_source: usize,
    /// Handshakes that are remembered.
    pub half_open: usize,
    /// What windows beyond the smallest may promise in all, in bytes.
    pub window_memory: usize,
    /// Remembered 4-tuples of closed connections.
    pub time_wait: usize,
    /// No new connections while fewer bytes of the heap are free.
    pub low_memory: usize,
}

/// What a machine's owner says about the bounds; the rest follows from its memory. See [`Limits`] for an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// `net.connections=`: connections in all.
    pub connections: Option<usize>,
    /// `net.per-source=`: connections of one source.
    pub per_source: Option<usize>,
    /// `net.half-open=`: handshakes that are remembered.
    pub half_open: Option<usize>,
    /// `net.window-memory=`: what windows beyond the smallest may promise in all, in bytes.
    pub window_memory: Option<usize>,
}

impl Limits {
    /// For a heap of `heap_len` bytes (0: not known), and what the owner says.
    pub fn new(heap_len: usize, bounds: Bounds) -> Limits {
        let (fitting, windows) = match heap_len {
            0 => (CONNECTIONS_HOSTED, WINDOWS_HOSTED),
            len => (
                (len / 100 * CONNECTIONS_HEAP_PERCENT / CONNECTION_COST).max(CONNECTIONS_MIN),
                len / 100 * WINDOWS_HEAP_PERCENT,
            ),
        };
        let connections = bounds.connections.unwrap_or(fitting).max(1);
        let share = connections.saturating_mul(PER_SOURCE_PERCENT) / 100;
        Limits {
            connections,
            per_source: bounds.per_source.unwrap_or(share).max(1),
            half_open: bounds.half_open.unwrap_or(HALF_OPEN_MAX),
            window_memory: bounds.window_memory.unwrap_or(windows),
            time_wait: TIME_WAIT_MAX.min(connections.saturating_mul(4)),
            low_memory: (heap_len / 100 * LOW_MEMORY_PERCENT).max(LOW_MEMORY_MIN),
        }
    }
}
