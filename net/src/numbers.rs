//! The numbers that a stranger must not guess: initial sequence numbers (RFC 6528) and SYN cookies (RFC 4987, 3.6).

use crate::{flow_map::FlowKey, siphash::siphash24};
use unikernel_rt::time::{Duration, Instant};

/// Secrets of this life of the machine, by use: two copies of one machine have the same numbers never again.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    sequence: [u64; 2],
    cookie: [u64; 2],
    generation: u64,
    source: Source,
}

/// Where they come from.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) random: fn() -> u64,
    /// Another number when the machine is a copy of what it was.
    pub(crate) generation: fn() -> u64,
}

/// How long a cookie is good for: in the period in which it was made, and in the next.
pub(crate) const COOKIE_PERIOD: Duration = Duration::from_secs(32);

/// A cookie: two bits of time, three of segment size, three of window scale, and a hash over all of it.
const TIME_SHIFT: u32 = 30;
const MSS_SHIFT: u32 = 27;
const SCALE_SHIFT: u32 = 24;
const HASH_MASK: u32 = (1 << SCALE_SHIFT) - 1;

/// Segment sizes a cookie can say, the commonest ones; a peer's is rounded down.
const SIZES: [u16; 8] = [536, 1200, 1220, 1360, 1400, 1440, 1460, 8940];

/// What a cookie can say of the peer's window scale; a smaller one than the peer's only makes its window look smaller.
/// A peer that sends no scale can take no selective acknowledgements either, as far as we care.
const SCALES: [Option<u8>; 8] = [None, Some(0), Some(2), Some(4), Some(6), Some(7), Some(8), Some(9)];

/// What we must know of a peer's SYN when its handshake is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) mss: u16,
    pub(crate) scale: Option<u8>,
}

impl Numbers {
    pub(crate) fn draw(source: Source) -> Numbers {
        let Source { random, generation } = source;
        let generation = generation();
        Numbers { sequence: [random(), random()], cookie: [random(), random()], generation, source }
    }

    /// To be called before each use: it is seldom, where looking in every turn would be for nearly nothing.
    #[inline]
    fn refresh(&mut self) {
        if (self.source.generation)() != self.generation {
            *self = Numbers::draw(self.source);
        }
    }

    /// Our first sequence number: a clock of 4 µs, moved by what only we can compute for these two ends.
    pub(crate) fn initial(&mut self, key: &FlowKey, now: Instant) -> u32 {
        self.refresh();
        let clock = (now.as_micros() / 4) as u32;
        clock.wrapping_add(siphash24(self.sequence, &key.words()) as u32)
    }

    /// The first sequence number for a handshake we do not remember.
    pub(crate) fn cookie(
        &mut self,
        key: &FlowKey,
        peer_sequence: u32,
        mss: u16,
        scale: Option<u8>,
        now: Instant,
    ) -> u32 {
        self.refresh();
        let size = SIZES.iter().rposition(|size| *size <= mss).unwrap_or(0) as u32;
        let scale = match scale {
            None => 0,
            Some(scale) => {
                SCALES.iter().rposition(|known| known.is_some_and(|known| known <= scale)).unwrap_or(1) as u32
            }
        };
        let front = period(now) << TIME_SHIFT | size << MSS_SHIFT | scale << SCALE_SHIFT;
        front | self.proof(key, peer_sequence, front)
    }

    /// What the SYN said, if `sequence` is a cookie that we made for it in this period or the last.
    pub(crate) fn read_cookie(
        &mut self,
        key: &FlowKey,
        peer_sequence: u32,
        sequence: u32,
        now: Instant,
    ) -> Option<Cookie> {
        self.refresh();
        let front = sequence & !HASH_MASK;
        let age = period(now).wrapping_sub(front >> TIME_SHIFT) & 3;
        if age > 1 || sequence & HASH_MASK != self.proof(key, peer_sequence, front) {
            return None;
        }
        let at = |shift: u32| (front >> shift & 7) as usize;
        Some(Cookie { mss: SIZES[at(MSS_SHIFT)], scale: SCALES[at(SCALE_SHIFT)] })
    }

    fn proof(&self, key: &FlowKey, peer_sequence: u32, front: u32) -> u32 {
        let [a, b, c, d, ports] = key.words();
        let said = u64::from(peer_sequence) << 32 | u64::from(front);
        siphash24(self.cookie, &[a, b, c, d, ports, said]) as u32 & HASH_MASK
    }
}

fn period(now: Instant) -> u32 {
    (now.as_micros() / COOKIE_PERIOD.as_micros() as u64) as u32 & 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use unikernel_rt::{entropy, sim};

    const SOURCE: Source = Source { random: || 0, generation: || 0 };
    const NUMBERS: Numbers = Numbers { sequence: [1, 2], cookie: [3, 4], generation: 0, source: SOURCE };

    fn key(peer: &str) -> FlowKey {
        FlowKey::new("10.0.0.1:80".parse().unwrap(), peer.parse().unwrap())
    }

    fn check(mss: u16, scale: Option<u8>, age: Duration, expected: Option<Cookie>) {
        let made = Instant::from_micros(77_000_000);
        let key = key("10.0.0.2:5000");
        let mut numbers = NUMBERS;
        let sequence = numbers.cookie(&key, 1234, mss, scale, made);
        assert_eq!(numbers.read_cookie(&key, 1234, sequence, made + age), expected);
        assert_eq!(numbers.read_cookie(&key, 1235, sequence, made + age), None);
        assert_eq!(numbers.read_cookie(&self::key("10.0.0.2:5001"), 1234, sequence, made + age), None);
    }

    #[test]
    fn an_ordinary_peer() {
        check(1460, Some(7), Duration::ZERO, Some(Cookie { mss: 1460, scale: Some(7) }))
    }

    #[test]
    fn sizes_and_scales_are_rounded_down() {
        check(1459, Some(14), Duration::ZERO, Some(Cookie { mss: 1440, scale: Some(9) }))
    }

    #[test]
    fn a_tiny_peer() {
        check(100, None, Duration::ZERO, Some(Cookie { mss: 536, scale: None }))
    }

    #[test]
    fn a_cookie_of_the_last_period() {
        check(9000, Some(0), COOKIE_PERIOD, Some(Cookie { mss: 8940, scale: Some(0) }))
    }

    #[test]
    fn a_stale_cookie() {
        check(1460, Some(7), COOKIE_PERIOD * 2, None)
    }

    #[test]
    fn the_bits_of_a_cookie_are_tied_to_each_other() {
        let (key, now) = (key("10.0.0.2:5000"), Instant::from_micros(0));
        let mut numbers = NUMBERS;
        let sequence = numbers.cookie(&key, 9, 1460, Some(7), now);
        for bit in 0..32 {
            assert_eq!(numbers.read_cookie(&key, 9, sequence ^ 1 << bit, now), None, "bit {bit}");
        }
    }

    /// RFC 6528, 3: it moves on with the clock for the same ends, and by a secret amount for others.
    #[test]
    fn initial_numbers() {
        let now = Instant::from_micros(1_000_000);
        let mut numbers = NUMBERS;
        let one = numbers.initial(&key("10.0.0.2:5000"), now);
        assert_eq!(numbers.initial(&key("10.0.0.2:5000"), now + Duration::from_micros(400)), one.wrapping_add(100));
        assert_ne!(numbers.initial(&key("10.0.0.2:5001"), now), one);
        assert_ne!(Numbers { sequence: [1, 3], ..NUMBERS }.initial(&key("10.0.0.2:5000"), now), one);
    }

    #[unikernel_rt::test]
    async fn a_copy_of_the_machine_has_other_numbers() {
        let source = Source { random: entropy::u64, generation: entropy::generation };
        let (mut numbers, key, now) = (Numbers::draw(source), key("10.0.0.2:5000"), Instant::from_micros(0));
        let initial = numbers.initial(&key, now);
        assert_eq!(numbers.initial(&key, now), initial);
        let cookie = numbers.cookie(&key, 9, 1460, None, now);
        sim::set_vm_generation([5, 6]);
        assert_eq!(numbers.read_cookie(&key, 9, cookie, now), None);
        assert_ne!(numbers.initial(&key, now), initial);
    }
}
