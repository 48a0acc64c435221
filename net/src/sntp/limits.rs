//! Every bound of the time client, with its reason.

use unikernel_rt::time::Duration;

/// Servers remembered.
pub const SERVERS_MAX: usize = 4;

/// How long an answer is waited for. A slower one would say little.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Measurements before the clock is set or stepped; the one with the shortest way counts.
pub const BURST_LEN: usize = 4;

/// Time between those (RFC 5905, 7.3: two seconds).
pub const BURST_INTERVAL: Duration = Duration::from_secs(2);

/// Shortest time between measurements after that (RFC 5905, 7.2: 2^6 s), and between tries when nobody answers
/// (RFC 4330, 10 forbids less than 15 s).
pub const POLL_MIN: Duration = Duration::from_secs(64);

/// Longest (RFC 5905, 7.2: 2^10 s).
pub const POLL_MAX: Duration = Duration::from_secs(1024);

/// Offsets above this are stepped, after several agree, and others slewed (RFC 5905, 7.2: STEPT).
pub const STEP_MICROS: u64 = 128_000;

/// Offsets up to this let the time between measurements grow; larger ones let it shrink. A clock that is 50 ppm wrong
/// drifts as far in 320 s.
pub const CALM_MICROS: u64 = 16_000;

/// How many measurements the shortest way is looked for in (RFC 5905, 7.2: NSTAGE).
pub const STAGES: usize = 8;

/// A measurement counts when its way was at most this many times the shortest, and one [`DELAY_SLACK_MICROS`]: what a
/// queue on the way adds falsifies the offset by half.
pub const DELAY_FACTOR: u64 = 2;

/// See [`DELAY_FACTOR`]; in a local network, ways are too short to be compared.
pub const DELAY_SLACK_MICROS: u64 = 2_000;

/// By how much a server may claim to have held a packet longer than it was away: the two clocks tick on their own.
pub const HELD_SLACK: Duration = Duration::from_millis(1);

/// A server that is itself this far from its source is not believed; systemd-timesyncd has the same default
/// (timesyncd.conf(5), `RootDistanceMaxSec`).
pub const ROOT_DISTANCE_MAX: Duration = Duration::from_secs(5);

/// No honest server shows a time before this was written: 2026-01-01.
pub const TIME_MIN: Duration = Duration::from_secs(1_767_225_600);
