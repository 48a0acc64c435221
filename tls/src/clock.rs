//! The wall clock, as rustls asks for it.

use rustls::{pki_types::UnixTime, time_provider::TimeProvider};
use unikernel_rt::time::unix_time;

/// 2026-01-01 00:00 UTC. This crate is younger, so a clock that shows less was never set.
const WRITTEN_AFTER: u64 = 1_767_225_600;

/// For whoever checks certificates: a clock that is not set is an error.
#[derive(Debug)]
pub(crate) struct Strict;

/// For whoever only dates tickets: any clock will do, as long as it counts on.
#[derive(Debug)]
pub(crate) struct Lenient;

impl TimeProvider for Strict {
    fn current_time(&self) -> Option<UnixTime> {
        let now = unix_time();
        (now.as_secs() >= WRITTEN_AFTER).then(|| UnixTime::since_unix_epoch(now))
    }
}

impl TimeProvider for Lenient {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(unix_time()))
    }
}
