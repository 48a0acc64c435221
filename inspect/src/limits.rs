//! How much who looks may ask for. Every bound has a name and a reason.

use unikernel_rt::time::Duration;

/// Tasks or sockets in one answer: about 100 KiB of text, made in about a millisecond.
pub(crate) const PAGE_LEN_MAX: usize = 500;

/// Captures at once: each may hold [`CAPTURE_MEMORY_MAX`](unikernel_net::limits::CAPTURE_MEMORY_MAX) bytes, and frames are
/// copied for each.
pub(crate) const CAPTURES_MAX: usize = 4;

/// What is kept of a frame at most, and by default: more than any frame has.
pub(crate) const SNAP_LEN_MAX: usize = 262_144;

/// Bytes of a capture that are sent as one piece.
pub(crate) const PIECE_LEN: usize = 64 * 1024;

/// How often a capture looks whether its reader is still there, as it may have nothing to send.
pub(crate) const READER_CHECK: Duration = Duration::from_secs(2);

/// How often the peer of a silent connection is asked whether it still exists: it may have lost its power.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(30);
