//! Whether and when a machine that has ended is started again.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// When a machine is started again by itself. One that was asked to stop is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It stays ended.
    #[default]
    Never,
    /// After every exit code but 0.
    OnFailure,
    /// Whatever its exit code.
    Always,
}

impl Restart {
    /// Whether a machine that ended with this exit code starts again.
    pub fn applies_to(self, code: u8) -> bool {
        match self {
            Restart::Never => false,
            Restart::OnFailure => code != 0,
            Restart::Always => true,
        }
    }
}

/// Before the first restart in a row.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait: whoever mends the cause does not wait longer than this for the machine.
const LAST: Duration = Duration::from_secs(60);
/// A machine that has run for so long is a good one, whose next failure counts as the first.
const GOOD: Duration = Duration::from_secs(30);

/// The waits between restarts: each in a row is twice as long as the one before.
#[derive(Debug, Default)]
pub struct Backoff {
    in_a_row: u32,
}

impl Backoff {
    /// How long to wait now, after a machine that has run for this time.
    pub fn next(&mut self, ran: Duration) -> Duration {
        self.in_a_row = if ran >= GOOD { 0 } else { self.in_a_row };
        let wait = FIRST.saturating_mul(2u32.saturating_pow(self.in_a_row)).min(LAST);
        self.in_a_row = self.in_a_row.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_and_policies() {
        for (policy, after_success, after_failure) in
            [(Restart::Never, false, false), (Restart::OnFailure, false, true), (Restart::Always, true, true)]
        {
            assert_eq!((policy.applies_to(0), policy.applies_to(101)), (after_success, after_failure), "{policy:?}");
        }
    }

    #[test]
    fn waits_grow_to_a_minute_and_begin_again_after_a_good_run() {
        let mut backoff = Backoff::default();
        let mut waits = |count: usize, ran: u64| -> Vec<u128> {
            (0..count).map(|_| backoff.next(Duration::from_secs(ran)).as_millis()).collect()
        };
        assert_eq!(waits(10, 0), [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(waits(1, 29), [60_000]);
        assert_eq!(waits(2, 30), [250, 250]);
        assert_eq!(waits(100, 0).last(), Some(&60_000));
    }
}
