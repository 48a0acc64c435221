//! Every bound of the stack, with its reason.

use unikernel_rt::time::Duration;

/// Frames received before other tasks get a turn: a batch shares one doorbell and one interrupt, and a full
/// batch of small requests takes about a tenth of a millisecond.
pub const FRAMES_PER_TURN: usize = 64;

/// Segments one flow may send before the next flow gets its turn: a bulk transfer must not hold up small answers.
pub const SEGMENTS_PER_TURN: usize = 16;

/// The payload of a full segment over an MTU of 1500 without TCP options.
const SEGMENT_LEN: usize = 1460;

/// Receive buffer of an ordinary connection: requests are short, and three segments keep an upload from a
/// nearby peer going without stalls.
pub const RX_BUFFER_LEN: usize = 3 * SEGMENT_LEN;

/// Send buffer of an ordinary connection: what may be unacknowledged at once. With [`RX_BUFFER_LEN`] a
/// connection stays near 11 KiB, so 10,000 of them fit a machine of 256 MiB.
pub const TX_BUFFER_LEN: usize = 4 * SEGMENT_LEN;

/// Receive and send buffer of a large connection. More than 65,535 would need a scaled receive window, and
/// smoltcp 0.14 takes the unscaled window of its SYN for a scaled one.
pub const LARGE_BUFFER_LEN: usize = 44 * SEGMENT_LEN;

/// The first connections are large: with few open, memory is there, and a long fat path needs the window.
pub const LARGE_CONNECTIONS_MAX: usize = 64;

/// Large connections may take this part of the heap.
const LARGE_HEAP_PART: usize = 16;

/// What a connection costs in all, rounded up: buffers, TCP state, table entries. A test sums it.
pub const CONNECTION_COST: usize = 12 * 1024;

/// Connections allowed when the heap's size is not known (on the workstation).
pub const CONNECTIONS_HOSTED: usize = 65_536;

/// The parts of the heap, in percent, that connections may fill at most. The rest is the application's.
const CONNECTIONS_HEAP_PERCENT: usize = 60;

/// Fewer connections than this make no server; a heap too small for them fails with an out-of-memory report.
pub const CONNECTIONS_MIN: usize = 8;

/// Connections half open at once, over all listeners, and at most half of all. One more pushes out the oldest: an
/// honest client answers within a round trip, so under a flood of 10,000 SYNs a second its handshake is done
/// before its turn comes if that takes less than 0.4 s. A burst of honest clients larger than this is hurt,
/// too: some find their connection reset.
pub const HALF_OPEN_MAX: usize = 4096;

/// How long a handshake may take: five SYN|ACKs (after 0, 1, 3, 7 and 15 s) and an answer to the last. Under a
/// flood the bound on their number ends them sooner.
pub const HALF_OPEN_TIME_MAX: Duration = Duration::from_secs(31);

/// Connections that wait for `accept`, per listener, unless the [`Config`](crate::Config) says otherwise.
/// A burst of clients in one turn must fit.
pub const BACKLOG: usize = 1024;

/// How long `connect` waits for an answer: five SYNs (after 0, 1, 3, 7 and 15 s).
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a closed connection that has delivered everything waits for the peer's FIN, without its owner. Linux
/// waits as long in FIN-WAIT-2. While data is left, [`USER_TIMEOUT`] counts instead, from each progress on.
pub const ORPHAN_TIME_MAX: Duration = Duration::from_secs(60);

/// How long it may go on at all: a peer that takes a byte a minute must not hold its buffers for ever.
pub const ORPHAN_LIFE_MAX: Duration = Duration::from_secs(600);

/// What a peer may send to a connection that its owner has dropped before it is reset. Until then it is
/// acknowledged and thrown away, so that a client that is still sending gets to read the answer.
pub const ORPHAN_DISCARD_LEN_MAX: usize = 256 * 1024;

/// Data not acknowledged for this long ends the connection (RFC 5482's user timeout): six retransmissions.
pub const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// With keep-alive on, a peer silent for this many intervals is dead: three probes went unanswered.
pub const KEEP_ALIVE_INTERVALS: u32 = 4;

/// How long a closed connection's 4-tuple is remembered: a segment that is still on its way must not be taken
/// for one of a new connection. RFC 9293 says 4 minutes; the engine, Linux and everyone say less.
pub const TIME_WAIT: Duration = Duration::from_secs(10);

/// Remembered 4-tuples; the oldest goes first. An entry takes some 50 bytes.
pub const TIME_WAIT_MAX: usize = 8192;

/// The engine's shortest retransmission timeout (RFC 6298, 2.4).
pub const RTO_MIN: Duration = Duration::from_secs(1);

/// A flow that says it has something to send, and then sends nothing, is asked again after this long.
pub const STALL_RETRY: Duration = Duration::from_millis(10);

/// When to tell the log that no DHCP server answers; a healthy one takes milliseconds.
pub const DHCP_PATIENCE: Duration = Duration::from_secs(3);

/// DHCP messages sent in [`DHCP_PAUSE`] at most: two make a lease.
pub const DHCP_BURST: u32 = 4;

/// See [`DHCP_BURST`]; RFC 2131, 3.1.5 asks for ten seconds after a conflict.
pub const DHCP_PAUSE: Duration = Duration::from_secs(10);

/// Ports for outgoing connections (RFC 6335, section 6).
pub const EPHEMERAL_PORTS: core::ops::RangeInclusive<u16> = 49_152..=65_535;

/// Random tries for a free port before `connect` gives up: with half of the ports in use, one in a billion fails.
pub const PORT_TRIES_MAX: usize = 30;

/// The bounds that depend on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all states.
    pub connections: usize,
    /// Of these, half open.
    pub half_open: usize,
    /// Of these, with large buffers.
    pub large: usize,
    /// Buffers of ended connections kept for the next: opening one then clears no memory.
    pub pooled: usize,
    /// Remembered 4-tuples of closed connections.
    pub time_wait: usize,
}

impl Limits {
    /// For a heap of `heap_len` bytes (0: not known), with `connections` in all if the user says so.
    pub fn new(heap_len: usize, connections: Option<usize>) -> Limits {
        let fitting = match heap_len {
            0 => CONNECTIONS_HOSTED,
            len => len / 100 * CONNECTIONS_HEAP_PERCENT / CONNECTION_COST,
        };
        let connections = connections.unwrap_or(fitting.max(CONNECTIONS_MIN)).max(1);
        let large = match heap_len {
            0 => LARGE_CONNECTIONS_MAX,
            len => (len / LARGE_HEAP_PART / (2 * LARGE_BUFFER_LEN)).min(LARGE_CONNECTIONS_MAX),
        };
        Limits {
            connections,
            half_open: HALF_OPEN_MAX.min(connections / 2).max(1),
            large,
            pooled: (connections / 8).clamp(1, 256),
            time_wait: TIME_WAIT_MAX.min(connections * 4),
        }
    }
}
