//! How often strangers are answered: a bucket of tokens.

use crate::limits::COMPLAINTS_PER_SECOND;
use unikernel_rt::time::Instant;

/// Tokens for [`COMPLAINTS_PER_SECOND`] answers; a second's worth can be saved up.
pub(crate) struct Complaints {
    tokens: u32,
    filled: Instant,
    /// Answers not given.
    pub(crate) suppressed: u64,
}

impl Complaints {
    pub(crate) fn new(now: Instant) -> Complaints {
        Complaints { tokens: COMPLAINTS_PER_SECOND, filled: now, suppressed: 0 }
    }

    /// Whether one more answer may be given now.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        if self.tokens == 0 {
            let micros = now.as_micros().saturating_sub(self.filled.as_micros());
            let new = micros.saturating_mul(COMPLAINTS_PER_SECOND.into()) / 1_000_000;
            if new == 0 {
                self.suppressed += 1;
                return false;
            }
            self.tokens = new.min(COMPLAINTS_PER_SECOND.into()) as u32;
            self.filled = now;
        }
        self.tokens -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unikernel_rt::time::Duration;

    #[test]
    fn a_second_has_so_many_answers() {
        let start = Instant::from_micros(1_000_000);
        let mut complaints = Complaints::new(start);
        let allowed = |complaints: &mut Complaints, now| (0..5000).filter(|_| complaints.allow(now)).count();
        assert_eq!(allowed(&mut complaints, start), 1000);
        assert_eq!(allowed(&mut complaints, start + Duration::from_millis(100)), 100);
        assert_eq!(allowed(&mut complaints, start + Duration::from_secs(1000)), 1000);
        assert_eq!(complaints.suppressed, 4000 + 4900 + 4000);
    }
}
