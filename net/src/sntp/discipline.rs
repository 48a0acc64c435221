//! What measured offsets do to the clock, and when to measure again.

use super::{
    limits::{
        BURST_INTERVAL, BURST_LEN, CALM_MICROS, DELAY_FACTOR, DELAY_SLACK_MICROS, HELD_SLACK, POLL_MAX, POLL_MIN,
        STAGES, STEP_MICROS,
    },
    packet::Times,
};
use alloc::{collections::VecDeque, vec, vec::Vec};
use unikernel_rt::time::Duration;

/// One measurement, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// What the clock lacks.
    offset: i64,
    /// How long the packets were under way, both together.
    delay: u64,
}

impl Sample {
    /// From the wall clock when the request left, the time until the answer came, and the server's times (RFC 5905, 8).
    /// `None` when the server claims to have held the packet for longer than it was away.
    pub(crate) fn new(wall: Duration, elapsed: Duration, times: &Times) -> Option<Sample> {
        let held = times.sent.saturating_sub(times.received);
        if held > elapsed + HELD_SLACK {
            return None;
        }
        let delay = elapsed.saturating_sub(held);
        let (there, back) = (micros(times.received) - micros(wall), micros(times.sent) - micros(wall + elapsed));
        Some(Sample { offset: (there + back) / 2, delay: delay.as_micros() as u64 })
    }
}

/// Microseconds; far below 2^62, so that sums and differences fit.
fn micros(time: Duration) -> i64 {
    const FAR: u128 = 1 << 60;
    time.as_micros().min(FAR) as i64
}

/// What to do to the clock, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correction {
    None,
    Slew(i64),
    /// The first time.
    Set(i64),
    /// Later, when the clock is far off.
    Step(i64),
}

/// The state of one clock that follows a server.
pub(crate) struct Discipline {
    /// Measurements that come quickly, one after the other, by offset; `None` while the clock is followed.
    burst: Option<Vec<Sample>>,
    burst_len: usize,
    /// The last ways' delays.
    delays: VecDeque<u64>,
    poll: Duration,
    poll_min: Duration,
    is_set: bool,
    /// Failures in a row.
    failures: u32,
}

impl Discipline {
    pub(crate) fn new() -> Discipline {
        Discipline {
            burst: Some(Vec::new()),
            burst_len: BURST_LEN,
            delays: VecDeque::new(),
            poll: POLL_MIN,
            poll_min: POLL_MIN,
            is_set: false,
            failures: 0,
        }
    }

    /// How long to wait before the next measurement.
    pub(crate) fn wait(&self) -> Duration {
        if self.burst.is_some() { BURST_INTERVAL } else { self.poll }
    }

    /// A measurement.
    pub(crate) fn take(&mut self, sample: Sample) -> Correction {
        self.failures = 0;
        match &mut self.burst {
            Some(burst) => {
                let place = burst.partition_point(|other| other.offset < sample.offset);
                burst.insert(place, sample);
                self.end_burst()
            }
            None => self.follow(sample),
        }
    }

    /// No measurement came, from one of `servers`; `too_often` when it says why. Returns how long to wait.
    pub(crate) fn fail(&mut self, too_often: bool, servers: usize) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if too_often {
            // RFC 5905, 7.4: less often from now on, and no more bursts.
            self.poll_min = (self.poll * 2).min(POLL_MAX);
            self.poll = self.poll_min;
            self.burst_len = 1;
            return self.poll;
        }
        let rounds = self.failures / servers.max(1) as u32;
        match rounds {
            // The other servers get their turn first.
            0 => BURST_INTERVAL,
            rounds => (self.poll_min * (1 << (rounds - 1).min(4))).min(POLL_MAX),
        }
    }

    /// The best of a burst sets the clock.
    fn end_burst(&mut self) -> Correction {
        let samples = self.burst.take_if(|burst| burst.len() >= self.burst_len).unwrap_or_default();
        let Some(best) = best(samples) else { return Correction::None };
        self.delays = VecDeque::from([best.delay]);
        let first = !core::mem::replace(&mut self.is_set, true);
        match best.offset {
            offset if first => Correction::Set(offset),
            offset if offset.unsigned_abs() > STEP_MICROS => {
                self.poll = self.poll_min;
                Correction::Step(offset)
            }
            offset => Correction::Slew(offset),
        }
    }

    fn follow(&mut self, sample: Sample) -> Correction {
        let shortest = self.delays.iter().copied().min().unwrap_or(sample.delay);
        self.delays.truncate(STAGES - 1);
        self.delays.push_front(sample.delay);
        if sample.delay > shortest.saturating_mul(DELAY_FACTOR).saturating_add(DELAY_SLACK_MICROS) {
            return Correction::None;
        }
        let off = sample.offset.unsigned_abs();
        if off > STEP_MICROS {
            // One measurement does not step a clock.
            self.burst = Some(vec![sample]);
            return self.end_burst();
        }
        self.poll = if off <= CALM_MICROS { self.poll * 2 } else { self.poll / 2 }.clamp(self.poll_min, POLL_MAX);
        Correction::Slew(sample.offset)
    }
}

/// Of measurements by offset, the one with the shortest way among those that agree with the middle one.
fn best(samples: Vec<Sample>) -> Option<Sample> {
    let middle = samples.get(samples.len() / 2)?.offset;
    // A way that is slow in one direction only falsifies the offset by half of it.
    let agrees = |sample: &Sample| sample.offset.abs_diff(middle) <= STEP_MICROS + sample.delay / 2;
    samples.into_iter().filter(agrees).min_by_key(|sample| sample.delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{format, string::String};

    /// A request that leaves at 1000 s by the wall clock and is answered after `elapsed`; the server's times are given
    /// in milliseconds after 1000 s.
    fn check_sample(elapsed: u64, received: i64, sent: i64, expected: Option<(i64, u64)>) {
        let at = |millis: i64| Duration::from_millis(1_000_000_u64.saturating_add_signed(millis));
        let times = Times { received: at(received), sent: at(sent) };
        let sample = Sample::new(at(0), Duration::from_millis(elapsed), &times);
        let expected = expected.map(|(offset, delay)| Sample { offset: offset * 1000, delay: delay * 1000 });
        assert_eq!(sample, expected);
    }

    #[test]
    fn offsets() {
        check_sample(20, 10, 10, Some((0, 20)));
        check_sample(30, 10, 20, Some((0, 20)));
        check_sample(20, 510, 510, Some((500, 20)));
        check_sample(20, -90, -90, Some((-100, 20)));
        check_sample(20, 20, 20, Some((10, 20)));
        check_sample(20, 10, 32, None);
        let held = Times { received: Duration::from_millis(5), sent: Duration::from_millis(26) };
        assert!(Sample::new(Duration::ZERO, Duration::from_millis(20), &held).is_some_and(|sample| sample.delay == 0));
        let extreme = Times { received: Duration::MAX, sent: Duration::MAX };
        assert!(Sample::new(Duration::ZERO, Duration::ZERO, &extreme).is_some());
    }

    /// Measurements of (offset, delay) in milliseconds, `fail` or `rate`, and after each what is done and the wait.
    fn check(steps: &str) {
        let mut discipline = Discipline::new();
        for step in steps.split(", ") {
            let (input, expected) = step.split_once(" -> ").unwrap();
            let text = match input {
                "fail" | "rate" => format!("{}", discipline.fail(input == "rate", 2).as_secs()),
                _ => {
                    let (offset, delay) = input.split_once('/').unwrap();
                    let (offset, delay): (i64, u64) = (offset.parse().unwrap(), delay.parse().unwrap());
                    let correction = discipline.take(Sample { offset: offset * 1000, delay: delay * 1000 });
                    format!("{} {}", shown(correction), discipline.wait().as_secs())
                }
            };
            assert_eq!(text, expected, "{step} in {steps}");
        }
    }

    fn shown(correction: Correction) -> String {
        match correction {
            Correction::None => "-".into(),
            Correction::Slew(micros) => format!("slew {}", micros / 1000),
            Correction::Set(micros) => format!("set {}", micros / 1000),
            Correction::Step(micros) => format!("step {}", micros / 1000),
        }
    }

    const BURST: &str = "500/20 -> - 2, 480/10 -> - 2, 520/30 -> - 2, 470/40 -> set 480 64";

    #[test]
    fn the_best_of_a_burst_sets_the_clock() {
        check(BURST);
        check("0/20 -> - 2, 0/20 -> - 2, 0/20 -> - 2, 1/10 -> set 1 64");
    }

    #[test]
    fn a_calm_clock_is_measured_less_and_less() {
        check(&format!(
            "{BURST}, 5/10 -> slew 5 128, -3/10 -> slew -3 256, 1/10 -> slew 1 512, 1/9 -> slew 1 1024, 2/9 -> slew 2 1024"
        ));
        check(&format!(
            "{BURST}, 5/10 -> slew 5 128, 5/10 -> slew 5 256, 40/10 -> slew 40 128, -17/10 -> slew -17 64, 100/10 -> slew 100 64"
        ));
    }

    #[test]
    fn long_ways_do_not_count() {
        check(&format!("{BURST}, 60/23 -> - 64, 7/22 -> slew 7 128"));
        // When all ways have become long, they count again.
        let long = ", 60/100 -> - 64".repeat(7);
        check(&format!("{BURST}{long}, 60/100 -> - 64, 1/100 -> slew 1 128"));
    }

    #[test]
    fn several_must_agree_before_a_step() {
        check(&format!("{BURST}, 900/10 -> - 2, 910/20 -> - 2, 905/11 -> - 2, 890/30 -> step 900 64"));
        check(&format!(
            "{BURST}, 900/8 -> - 2, 3/11 -> - 2, 4/9 -> - 2, 5/10 -> slew 4 64, -900/8 -> - 2, 3/11 -> - 2, 4/9 -> - 2, 5/10 -> slew 4 64"
        ));
        check(&format!("{BURST}, 128/10 -> slew 128 64, -129/10 -> - 2"));
    }

    #[test]
    fn failures_wait_longer_and_longer() {
        check("fail -> 2, fail -> 64, fail -> 64, fail -> 128, fail -> 128, fail -> 256, fail -> 256, fail -> 512");
        check(&format!("{}, 0/10 -> - 2, fail -> 2", ["fail -> 2", "fail -> 64"].join(", ")));
        let mut discipline = Discipline::new();
        let longest = (0..1000).map(|_| discipline.fail(false, 1)).max();
        assert_eq!(longest, Some(POLL_MAX));
    }

    #[test]
    fn a_server_that_is_asked_too_often_is_asked_less() {
        check("0/10 -> - 2, rate -> 128, 7/9 -> set 7 128, 0/10 -> slew 0 256, rate -> 512, 100/10 -> slew 100 512");
        check(&format!("{BURST}, rate -> 128, rate -> 256, rate -> 512, rate -> 1024, rate -> 1024"));
        // Without bursts, one measurement must do.
        check(&format!("{BURST}, rate -> 128, 900/10 -> step 900 128"));
    }
}
