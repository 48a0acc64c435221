//! Every bound with its reason.

use unikernel_rt::time::Duration;

/// Bytes of plaintext in one record (RFC 8446, 5.1).
pub const RECORD_LEN_MAX: usize = 1 << 14;

/// Bytes a record may be longer than its plaintext (RFC 8446, 5.2), with the header.
pub const RECORD_OVERHEAD_MAX: usize = 256 + crate::record::HEADER_LEN;

/// Bytes of the handshake that may wait for the rest of their message. rustls takes messages of up to 64 KiB, which
/// holds any chain of certificates in use; they come in records with their overhead.
pub const HANDSHAKE_LEN_MAX: usize = 64 * 1024 + 5 * RECORD_OVERHEAD_MAX;

/// Time from the first look at a connection to the end of its handshake. A handshake takes two round trips, also with
/// a lost packet or two; who trickles bytes is cut off.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes that a server runs at once: each holds about 20 KiB and costs more than a thousand ordinary requests,
/// so further ones wait for their turn.
pub const HANDSHAKES_MAX: usize = 256;

/// Time to tell the peer that nothing follows, when a connection ends.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Records in a row that bring no data (key updates, tickets, warnings): as many as rustls allows.
pub const USELESS_RECORDS_MAX: u32 = 32;

/// Bytes of a message after the handshake. The largest is a session ticket: two fields of up to 64 KiB by its format
/// (RFC 8446, 4.6.1), a few hundred bytes in every server we know of.
pub const POST_HANDSHAKE_LEN_MAX: usize = 16 * 1024;

/// Bytes an idle connection holds to read into: a record header and a small record.
pub const IDLE_BUFFER_LEN: usize = 256;

/// Time after which tickets are sealed with a new key; those of the key before are still taken. So whoever steals a
/// key can read sessions resumed within twelve hours, if they used no new key exchange (RFC 8446, 8.1).
pub const TICKET_KEY_LIFETIME: Duration = Duration::from_secs(6 * 3600);

/// Tickets sent after a handshake. One serves one further connection, and a new one comes with that.
pub const TICKETS_SENT: usize = 1;

/// Sessions a server remembers when it uses a cache instead of tickets. Each takes about 300 bytes, more with client
/// certificates.
pub const SERVER_SESSIONS_MAX: usize = 1024;

/// Servers of which a client remembers sessions.
pub const CLIENT_SERVERS_MAX: usize = 64;

/// Tickets a client keeps for one server: as many connections can resume at once.
pub const CLIENT_TICKETS_MAX: usize = 4;
