//! Answers from noise and from changed good answers: whatever they say, it is said in time and within bounds.

use super::messages::*;
use crate::dns::{
    answer::{Answer, Misfit},
    limits::ADDRESSES_MAX,
};
use std::vec::Vec;
use unikernel_rt::sim::Random;

const ID: u16 = 7;

/// Good answers of every sort, to begin with.
const SEEDS: [&str; 8] = [
    "w.a A 60 10.0.0.1; ^ A 60 10.0.0.2",
    "w.a AAAA 60 fd00::1 | a NS 60 n.a | n.a A 60 10.0.0.1; . OPT 0 -",
    "w.a CNAME 60 x.b; x.b CNAME 60 y.c; y.c A 60 10.0.0.1",
    "w.a CNAME 60 ^; ^ CNAME 60 w.a",
    "| a SOA 900 300",
    "w.a CNAME 60 x.b | b SOA 900 300",
    "w.a TXT 60 some-text; w.a A 60 10.0.0.1",
    "",
];

/// What came out, for a count of the kinds.
fn read(message: &[u8]) -> usize {
    match Answer::read(message, ID, &question("w.a A")) {
        Ok(Answer::Addresses { addresses, .. }) => {
            assert!(!addresses.is_empty() && addresses.len() <= ADDRESSES_MAX);
            0
        }
        Ok(Answer::Alias { target, .. }) => {
            assert!(target.wire().len() <= 255);
            1
        }
        Ok(Answer::NoName { .. } | Answer::NoData { .. }) => 2,
        Ok(Answer::Truncated | Answer::NotUnderstood | Answer::Failed) => 3,
        Ok(Answer::Loop) => 4,
        Err(Misfit::Malformed) => 5,
        Err(Misfit::Foreign) => 6,
    }
}

fn mutate(message: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        // Half of the time behind the question, where there is more to say.
        let from = if random.chance(800) { 21.min(message.len() - 1) } else { 0 };
        let at = from + random.below(message.len() - from);
        match random.below(6) {
            0 => message[at] = random.u64() as u8,
            1 => message[at] ^= 1 << random.below(8),
            2 => message[at] = 0xc0,
            3 => message[at] = 12 + random.below(40) as u8,
            4 => message.insert(at, random.u64() as u8),
            _ if random.chance(100) => message.truncate(at.max(1)),
            _ => message[at] = [0, 1, 5, 6, 28, 41, 63, 255][random.below(8)],
        }
    }
}

#[test]
fn changed_answers() {
    let (mut random, mut kinds) = (Random::new(1), [0; 7]);
    for round in 0..120_000 {
        let flags = [0, 0, 0, NAME_ERROR, TRUNCATED][random.below(5)];
        let mut message = response(ID, flags, &question("w.a A"), SEEDS[round % SEEDS.len()]);
        mutate(&mut message, &mut random);
        kinds[read(&message)] += 1;
    }
    assert!(kinds.iter().all(|count| *count > 500), "every kind of outcome was seen: {kinds:?}");
}

#[test]
fn noise() {
    let (mut random, mut kinds) = (Random::new(2), [0; 7]);
    for _ in 0..100_000 {
        let mut message = response(ID, 0, &question("w.a A"), "");
        message.resize(21 + random.below(200), 0);
        // Some structure, so that noise passes for names and lengths now and then.
        message[21..].iter_mut().for_each(|byte| *byte = if random.chance(600) { 0 } else { random.u64() as u8 });
        let len = message.len();
        for count in [7, 9, 11] {
            message[count] = random.below(4) as u8;
        }
        message.truncate(if random.chance(50) { random.below(len) } else { len });
        kinds[read(&message)] += 1;
    }
    assert!(kinds[2] > 100 && kinds[5] > 100 && kinds[6] > 100, "{kinds:?}");
}

/// The most work a message can make: thousands of records whose owner differs from the alias in its last label only, every
/// label of both behind a pointer.
#[test]
fn a_message_made_to_be_slow() {
    let mut message = response(ID, 0, &question("w.a A"), "");
    // Two long names, as the data of a TXT record.
    message.extend([0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0]);
    let start = message.len();
    let (alias, other) = (long_name(&mut message, b'a'), long_name(&mut message, b'b'));
    let len = (message.len() - start) as u16;
    message[start - 2..start].copy_from_slice(&len.to_be_bytes());
    let mut count = 1u16;
    let mut cname = |owner: [u8; 2], target: [u8; 2]| {
        message.extend(owner);
        message.extend([0, 5, 0, 1, 0, 0, 0, 60, 0, 2]);
        message.extend(target);
        count += 1;
        message[6..8].copy_from_slice(&count.to_be_bytes());
        message.len() < 65_500
    };
    cname([0xc0, 12], alias);
    while cname(other, other) {}
    assert!(count > 4000);
    let Ok(Answer::Alias { target, .. }) = Answer::read(&message, ID, &question("w.a A")) else { panic!() };
    assert_eq!(target.labels().count(), 120);
}

/// Appends a name of 120 labels, each reached by a pointer, and returns the pointer to it.
fn long_name(message: &mut Vec<u8>, last: u8) -> [u8; 2] {
    let mut rest = Vec::from([0]);
    for index in 0..120 {
        let at = message.len() as u16;
        message.extend([1, if index == 0 { last } else { b'x' }]);
        message.append(&mut rest);
        rest = (0xc000 | at).to_be_bytes().to_vec();
    }
    [rest[0], rest[1]]
}
