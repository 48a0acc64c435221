//! Every bound, with its reason.

use unikernel_rt::time::Duration;

/// The longest message in a datagram; longer ones are cut. It passes every IPv6 network in one piece (RFC 5426, 3.2).
pub const DATAGRAM_LEN_MAX: usize = 1180;
/// The longest message on a connection; longer ones are cut. Receivers should take that much (RFC 5425, 4.3.1).
pub const MESSAGE_LEN_MAX: usize = 8192;
/// What lines that wait for the collector may take, unless set: some five hundred lines.
pub const BUFFER_LEN: usize = 64 * 1024;
/// What is written to a connection at once. A connection that breaks meanwhile gets it again.
pub const BATCH_LEN_MAX: usize = 16 * 1024;
/// Lines that are read, or datagrams that are sent, before other tasks have their turn.
pub const TURN: usize = 16;
/// The pause before the second attempt; each after it is twice as long, up to [`BACKOFF_MAX`]. Each is shortened by up to
/// half, so that a thousand machines do not come back as one.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause between two attempts: a collector that is back is found within a minute.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Time for a connection, with name, handshake and TLS.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the addresses of a name are used for datagrams, which never fail.
pub const ADDRESS_TIME: Duration = Duration::from_secs(60);
/// How often a collector that keeps silent is asked whether it is there.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The shortest time between two lines about lost lines, or about a collector that is gone: such a line is sent, too.
pub const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// How long a stop of the machine waits for lines that are not sent.
pub const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);
