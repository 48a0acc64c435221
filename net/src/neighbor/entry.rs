//! One neighbour and its states (RFC 4861, 7.3.2).

use crate::address::{
    limits::{ABSENT_TIME, SOLICITATIONS, SUSPICION_PAUSE},
    packet::Mac,
};
use unikernel_rt::time::{Duration, Instant};

pub(super) struct Entry {
    /// Meaningless while nobody has answered.
    pub(super) mac: Mac,
    pub(super) state: State,
    /// When something was last sent to it, as far as the slow path knows.
    pub(super) used: Instant,
    /// When a contradiction last made us ask.
    suspected: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Everybody was asked, `tries` times.
    Incomplete {
        tries: u8,
        due: Instant,
    },
    Reachable {
        until: Instant,
    },
    /// Known, but not lately confirmed, and not in use.
    Stale,
    /// In use; asked at `due` unless something confirms it before.
    Delay {
        due: Instant,
    },
    /// Asked at its known address, then everybody was asked. Meanwhile the address is used (RFC 7048).
    Probe {
        tries: u8,
        due: Instant,
    },
    /// Did not answer; not asked again before `due`.
    Absent {
        due: Instant,
    },
}

/// What to do when a moment has come.
pub(super) enum Step {
    Ask(Option<Mac>),
    GiveUp,
    Forget,
}

impl Entry {
    pub(super) fn asked(now: Instant, due: Instant) -> Entry {
        Entry { mac: [0; 6], state: State::Incomplete { tries: 1, due }, used: now, suspected: Instant::default() }
    }

    pub(super) fn introduced(mac: Mac, now: Instant) -> Entry {
        Entry { mac, state: State::Stale, used: now, suspected: Instant::default() }
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self.state, State::Incomplete { .. } | State::Absent { .. })
    }

    pub(super) fn has_mac(&self) -> bool {
        !self.is_asked()
    }

    /// When `step` has something to do.
    pub(super) fn due(&self) -> Instant {
        match self.state {
            State::Reachable { .. } | State::Stale => Instant::FOREVER,
            State::Incomplete { due, .. } | State::Delay { due } | State::Probe { due, .. } | State::Absent { due } => {
                due
            }
        }
    }

    /// For making room: the least goes first. `None`: it is in use.
    pub(super) fn worth(&self, now: Instant) -> Option<u8> {
        match self.state {
            State::Absent { .. } => Some(0),
            State::Stale => Some(1),
            State::Reachable { until } if until <= now => Some(1),
            State::Incomplete { .. } => Some(2),
            State::Reachable { .. } | State::Delay { .. } | State::Probe { .. } => None,
        }
    }

    /// Whether a question is open that an answer from `mac` settles. The known address was asked first, so only it
    /// may answer then.
    pub(super) fn awaits(&self, mac: Mac) -> bool {
        match self.state {
            State::Incomplete { .. } => true,
            State::Probe { tries, .. } => tries > SOLICITATIONS || mac == self.mac,
            _ => false,
        }
    }

    /// Whether someone at `mac` claims the place of a known neighbour, and it is time to find out.
    pub(super) fn is_contradicted(&self, mac: Mac, now: Instant) -> bool {
        let known = matches!(self.state, State::Reachable { .. } | State::Stale | State::Delay { .. });
        known && mac != self.mac && now >= self.suspected + SUSPICION_PAUSE
    }

    pub(super) fn suspect(&mut self, now: Instant, pause: Duration) {
        self.suspected = now;
        self.state = State::Probe { tries: 1, due: now + pause };
    }

    pub(super) fn step(&mut self, now: Instant, pause: Duration) -> Step {
        let due = now + pause;
        match self.state {
            State::Incomplete { tries, .. } if tries < SOLICITATIONS => {
                self.state = State::Incomplete { tries: tries + 1, due };
                Step::Ask(None)
            }
            State::Delay { .. } => {
                self.state = State::Probe { tries: 1, due };
                Step::Ask(Some(self.mac))
            }
            State::Probe { tries, .. } if tries < 2 * SOLICITATIONS => {
                self.state = State::Probe { tries: tries + 1, due };
                Step::Ask((tries < SOLICITATIONS).then_some(self.mac))
            }
            State::Incomplete { .. } | State::Probe { .. } => {
                self.state = State::Absent { due: now + ABSENT_TIME };
                Step::GiveUp
            }
            State::Absent { .. } | State::Reachable { .. } | State::Stale => Step::Forget,
        }
    }
}
