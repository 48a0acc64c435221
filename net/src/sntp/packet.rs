//! Packets: what is asked, and what an answer is worth (RFC 5905, 7.3; RFC 4330, 5).

use super::limits::{ROOT_DISTANCE_MAX, TIME_MIN};
use unikernel_rt::time::Duration;

/// Without extension fields.
pub(crate) const PACKET_LEN: usize = 48;

/// No leap second, version 4, mode client.
const REQUEST_HEAD: u8 = 0b00_100_011;
const MODE_SERVER: u8 = 4;
const LEAP_NOT_SYNCHRONISED: u8 = 3;
/// From here on, a stratum means that the server has no time.
const STRATUM_NONE: u8 = 16;

/// Seconds from 1900 to 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;

/// When the server received the request and sent the answer, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) received: Duration,
    pub(crate) sent: Duration,
}

/// Why an answer tells no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// It answers another request; the right one may still come.
    Foreign,
    /// The server asks for something (RFC 5905, 7.4).
    Kiss(Kiss),
    /// The server has no time, or shows one that cannot be.
    Unfit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kiss {
    /// Never ask again.
    Deny,
    /// Ask less often.
    Rate,
    Other,
}

/// A request. It tells the server nothing but a random number, which comes back: the time of this machine is nobody's
/// business, and whoever cannot read the request cannot answer it.
pub(crate) fn request(cookie: u64) -> [u8; PACKET_LEN] {
    let mut packet = [0; PACKET_LEN];
    packet[0] = REQUEST_HEAD;
    packet[40..].copy_from_slice(&cookie.to_be_bytes());
    packet
}

/// Reads the answer to the request with `cookie`.
pub(crate) fn read(packet: &[u8], cookie: u64) -> Result<Times, Misfit> {
    let packet: &[u8; PACKET_LEN] = packet.first_chunk().ok_or(Misfit::Foreign)?;
    let (leap, version, mode, stratum) = (packet[0] >> 6, (packet[0] >> 3) & 7, packet[0] & 7, packet[1]);
    if mode != MODE_SERVER || !(3..=4).contains(&version) || packet[24..32] != cookie.to_be_bytes() {
        return Err(Misfit::Foreign);
    }
    if stratum == 0 {
        return Err(Misfit::Kiss(kiss(&packet[12..16])));
    }
    let times = Times { received: timestamp(&packet[32..40]), sent: timestamp(&packet[40..48]) };
    // RFC 5905, 11.1: the root distance is half of the delay and all of the dispersion.
    let distance = short(&packet[4..8]) / 2 + short(&packet[8..12]);
    let synchronised = leap != LEAP_NOT_SYNCHRONISED && stratum < STRATUM_NONE && distance <= ROOT_DISTANCE_MAX;
    let possible = times.received >= TIME_MIN && times.sent >= times.received;
    if synchronised && possible { Ok(times) } else { Err(Misfit::Unfit) }
}

fn kiss(code: &[u8]) -> Kiss {
    match code {
        b"DENY" | b"RSTR" => Kiss::Deny,
        b"RATE" => Kiss::Rate,
        _ => Kiss::Other,
    }
}

/// A number of 4 bytes, most significant first.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Seconds since 1900, with 32 bits before the point and 32 behind. Those before 1968 mean the era that begins in 2036
/// (RFC 4330, 3). Zero means that it is not known, and is in no case after 2026.
fn timestamp(bytes: &[u8]) -> Duration {
    let (seconds, fraction) = (word(&bytes[..4]), word(&bytes[4..]));
    let seconds = match (seconds, fraction) {
        (0, 0) => return Duration::ZERO,
        (seconds, _) if seconds >> 31 == 1 => seconds,
        (seconds, _) => seconds + (1 << 32),
    };
    Duration::from_secs(seconds.saturating_sub(UNIX_EPOCH)) + Duration::from_micros((fraction * 1_000_000) >> 32)
}

/// Seconds with 16 bits before the point and 16 behind.
fn short(bytes: &[u8]) -> Duration {
    Duration::from_micros((word(bytes) * 1_000_000) >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;
    use unikernel_rt::sim::Random;

    const COOKIE: u64 = 0x0123_4567_89ab_cdef;

    /// A good answer of 2026-11-24 00:00:00.25 UTC, sent half a second after the request came.
    fn answer() -> Vec<u8> {
        let mut packet = std::vec![0; PACKET_LEN];
        packet[0] = 0b00_100_100;
        packet[1] = 2;
        packet[24..32].copy_from_slice(&COOKIE.to_be_bytes());
        let seconds = (1_795_478_400 + UNIX_EPOCH) as u32;
        packet[32..36].copy_from_slice(&seconds.to_be_bytes());
        packet[40..44].copy_from_slice(&seconds.to_be_bytes());
        packet[36] = 0x40;
        packet[44] = 0xc0;
        packet
    }

    fn good() -> Times {
        let at = |millis: u64| Duration::from_millis(1_795_478_400_000 + millis);
        Times { received: at(250), sent: at(750) }
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Vec<u8>), expected: Result<Times, Misfit>) {
        let mut packet = answer();
        change(&mut packet);
        assert_eq!(read(&packet, COOKIE), expected, "{packet:?}");
    }

    #[test]
    fn good_answers() {
        check(|_| {}, Ok(good()));
        check(|packet| packet[0] = 0b01_011_100, Ok(good()));
        check(|packet| packet[1] = 15, Ok(good()));
        check(|packet| packet.extend([1; 20]), Ok(good()));
        check(|packet| packet[9] = 5, Ok(good()));
        check(|packet| packet[5] = 10, Ok(good()));
    }

    #[test]
    fn answers_to_others() {
        check(|packet| packet.truncate(47), Err(Misfit::Foreign));
        check(|packet| packet.clear(), Err(Misfit::Foreign));
        check(|packet| packet[31] ^= 1, Err(Misfit::Foreign));
        check(|packet| packet[24..32].fill(0), Err(Misfit::Foreign));
        for head in [0b00_100_011, 0b00_100_101, 0b00_100_110, 0b00_101_100, 0b00_010_100, 0] {
            check(|packet| packet[0] = head, Err(Misfit::Foreign));
        }
        assert_eq!(read(&request(COOKIE), COOKIE), Err(Misfit::Foreign), "a mirror");
    }

    #[test]
    fn kisses() {
        for (code, expected) in
            [(b"DENY", Kiss::Deny), (b"RSTR", Kiss::Deny), (b"RATE", Kiss::Rate), (b"INIT", Kiss::Other)]
        {
            let kiss = |packet: &mut Vec<u8>| {
                packet[1] = 0;
                packet[12..16].copy_from_slice(code);
            };
            check(kiss, Err(Misfit::Kiss(expected)));
            let forged = |packet: &mut Vec<u8>| {
                kiss(packet);
                packet[31] ^= 1;
            };
            check(forged, Err(Misfit::Foreign));
        }
    }

    #[test]
    fn servers_without_a_time() {
        check(|packet| packet[0] = 0b11_100_100, Err(Misfit::Unfit));
        check(|packet| packet[1] = 16, Err(Misfit::Unfit));
        check(|packet| packet[1] = 255, Err(Misfit::Unfit));
        check(|packet| packet[40..48].fill(0), Err(Misfit::Unfit));
        check(|packet| packet[32..48].fill(0), Err(Misfit::Unfit));
        check(|packet| packet[44] = 0x30, Err(Misfit::Unfit));
        // 5 s and a bit of dispersion, twice that of delay.
        check(|packet| packet[9..12].copy_from_slice(&[5, 0, 1]), Err(Misfit::Unfit));
        check(|packet| packet[5..8].copy_from_slice(&[10, 0, 2]), Err(Misfit::Unfit));
        // 2025.
        check(|packet| packet[32] -= 2, Err(Misfit::Unfit));
    }

    fn check_timestamp(seconds: u32, fraction: u32, expected_micros: u64) {
        let bytes = [seconds.to_be_bytes(), fraction.to_be_bytes()].concat();
        assert_eq!(timestamp(&bytes), Duration::from_micros(expected_micros));
    }

    #[test]
    fn eras() {
        check_timestamp(0, 0, 0);
        check_timestamp(u32::MAX, u32::MAX, 2_085_978_495_999_999);
        check_timestamp(0, 1 << 31, 2_085_978_496_500_000);
        check_timestamp(1, 0, 2_085_978_497_000_000);
        check_timestamp(1 << 31, 0, 0);
        check_timestamp((1 << 31) - 1, 0, 4_233_462_143_000_000);
    }

    #[test]
    fn noise_and_changed_answers() {
        let (mut random, mut counts) = (Random::new(3), [0; 4]);
        for _ in 0..150_000 {
            let mut packet = answer();
            for _ in 0..1 + random.below(3) {
                let at = random.below(packet.len());
                packet[at] = if random.chance(500) { random.u64() as u8 } else { packet[at] ^ (1 << random.below(8)) };
            }
            if random.chance(100) {
                random.fill(&mut packet);
            }
            packet.truncate(if random.chance(50) { random.below(PACKET_LEN) } else { PACKET_LEN });
            let kind = match read(&packet, COOKIE) {
                Ok(times) => {
                    assert!(times.received >= TIME_MIN && times.sent >= times.received);
                    0
                }
                Err(Misfit::Foreign) => 1,
                Err(Misfit::Kiss(_)) => 2,
                Err(Misfit::Unfit) => 3,
            };
            counts[kind] += 1;
        }
        assert!(counts.iter().all(|count| *count > 100), "{counts:?}");
    }
}
