//! Connections that are over but must be remembered for a while (RFC 9293, 3.6.1): a compact record in the
//! place of a socket with its buffers.
//!
//! A ring: records expire in the order in which they came, and when it is full the oldest goes early.

use crate::{flow_map::FlowKey, limits::TIME_WAIT};
use alloc::collections::VecDeque;
use unikernel_rt::time::Instant;

/// Memory for so many records is not worth giving back.
const SMALL: usize = 256;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) key: FlowKey,
    /// Our next sequence number, after our FIN.
    pub(crate) sequence: u32,
    /// The next one we would expect, after the peer's FIN.
    pub(crate) acknowledgement: u32,
    expires: Instant,
    forgotten: bool,
}

pub(crate) struct TimeWait {
    records: VecDeque<Record>,
    /// The number of the oldest record; the others follow.
    first: u32,
    live: usize,
    max: usize,
}

/// What to do with a segment for a remembered connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer with an ACK: the peer has not seen our last one.
    Acknowledge,
    /// A new connection may begin.
    Reopen,
    /// The peer has forgotten the connection; so may we.
    Forget,
    /// Do nothing.
    Ignore,
}

impl TimeWait {
    pub(crate) fn new(max: usize) -> TimeWait {
        TimeWait { records: VecDeque::new(), first: 0, live: 0, max }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= self.max
    }

    /// Remembers a connection and returns its number. The caller made room.
    pub(crate) fn push(&mut self, key: FlowKey, sequence: u32, acknowledgement: u32, now: Instant) -> u32 {
        let number = self.first.wrapping_add(self.records.len() as u32);
        let expires = now + TIME_WAIT;
        self.records.push_back(Record { key, sequence, acknowledgement, expires, forgotten: false });
        self.live += 1;
        number
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Record> {
        self.records.get(number.wrapping_sub(self.first) as usize).filter(|record| !record.forgotten)
    }

    /// The record of this number, or the first that is still there, and the number after it; `None` within it where the record
    /// was forgotten.
    pub(crate) fn from(&self, number: u32) -> Option<(Option<&Record>, u32)> {
        let number = if number.wrapping_sub(self.first) as usize > self.records.len() { self.first } else { number };
        let record = self.records.get(number.wrapping_sub(self.first) as usize)?;
        Some((Some(record).filter(|record| !record.forgotten), number.wrapping_add(1)))
    }

    /// Forgets one early; its place is free when its turn comes.
    pub(crate) fn forget(&mut self, number: u32) {
        if let Some(record) = self.records.get_mut(number.wrapping_sub(self.first) as usize)
            && !record.forgotten
        {
            record.forgotten = true;
            self.live -= 1;
        }
    }

    /// Takes the oldest record, with its number, when it has expired or `anyway`.
    pub(crate) fn pop(&mut self, now: Instant, anyway: bool) -> Option<(u32, FlowKey)> {
        loop {
            let oldest = self.records.front()?;
            let (key, forgotten) = (oldest.key, oldest.forgotten);
            if !forgotten && !anyway && oldest.expires > now {
                return None;
            }
            let number = self.first;
            self.records.pop_front();
            if self.records.is_empty() && self.records.capacity() > SMALL {
                self.records = VecDeque::new();
            }
            self.first = self.first.wrapping_add(1);
            if !forgotten {
                self.live -= 1;
                return Some((number, key));
            }
            if anyway {
                // Its key is not in the table any more, but there is room now.
                return None;
            }
        }
    }
}

impl Record {
    /// RFC 9293, 3.10.7.4 and RFC 1122, 4.2.2.13: a SYN beyond what the old connection used may reopen it. To any
    /// other we acknowledge what the old one had; a peer who knows nothing of that resets exactly there, and
    /// only there a reset counts (RFC 5961, 3; RFC 1337).
    pub(crate) fn judge(&self, opens: bool, is_reset: bool, sequence: u32) -> Verdict {
        if is_reset {
            return if sequence == self.acknowledgement { Verdict::Forget } else { Verdict::Ignore };
        }
        if opens && (sequence.wrapping_sub(self.acknowledgement) as i32) > 0 {
            return Verdict::Reopen;
        }
        Verdict::Acknowledge
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, SocketAddr};

    fn check(opens: bool, is_reset: bool, sequence: u32, expected: Verdict) {
        let address = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), 80);
        let mut table = TimeWait::new(1);
        let number = table.push(FlowKey::new(address, address), 5, 0xffff_fff0, Instant::from_micros(0));
        assert_eq!(table.get(number).unwrap().judge(opens, is_reset, sequence), expected);
    }

    #[test]
    fn a_repeated_fin() {
        check(false, false, 0xffff_ffef, Verdict::Acknowledge)
    }

    #[test]
    fn a_reset_that_answers_us() {
        check(false, true, 0xffff_fff0, Verdict::Forget)
    }

    #[test]
    fn a_reset_by_a_stranger() {
        check(false, true, 0xffff_fff1, Verdict::Ignore)
    }

    #[test]
    fn an_old_syn() {
        check(true, false, 0xffff_ff00, Verdict::Acknowledge)
    }

    #[test]
    fn a_new_syn_beyond_the_wrap() {
        check(true, false, 3, Verdict::Reopen)
    }

    #[test]
    fn the_oldest_goes_first() {
        let address = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), 80);
        let key = FlowKey::new(address, address);
        let mut table = TimeWait::new(2);
        let a = table.push(key, 1, 1, Instant::from_micros(0));
        let b = table.push(key, 2, 2, Instant::from_micros(5));
        assert!(table.is_full());
        assert_eq!(table.pop(Instant::from_micros(1), false), None);
        assert_eq!(table.pop(Instant::from_micros(1), true).map(|(number, _)| number), Some(a));
        assert!(table.get(a).is_none());
        assert_eq!(table.get(b).unwrap().sequence, 2);
        table.forget(b);
        assert_eq!((table.len(), table.pop(Instant::FOREVER, false)), (0, None));
    }

    #[test]
    fn a_list_that_begins_too_early_goes_on_behind_the_first() {
        let address = SocketAddr::new(Ipv4Addr::new(10, 0, 0, 1).into(), 80);
        let key = FlowKey::new(address, address);
        let mut table = TimeWait::new(2);
        for sequence in 0..1000 {
            table.push(key, sequence, 0, Instant::from_micros(0));
            table.pop(Instant::FOREVER, false);
        }
        let forgotten = table.push(key, 1000, 0, Instant::from_micros(0));
        let kept = table.push(key, 1001, 0, Instant::from_micros(0));
        table.forget(forgotten);
        let from = |number| table.from(number).map(|(record, next)| (record.map(|record| record.sequence), next));
        assert_eq!(from(0), Some((None, kept)));
        assert_eq!(from(kept), Some((Some(1001), kept + 1)));
        assert_eq!(from(kept + 1), None);
    }
}
