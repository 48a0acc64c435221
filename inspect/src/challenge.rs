//! How a client shows that it knows the key, without saying it.
//!
//! A request without credentials is answered with 401 and a question, `WWW-Authenticate: Unikernel question="Q"`. The client
//! repeats the request with `Authorization: Unikernel question="Q", code="C"`, where C is the code of method, target
//! and question, in hexadecimal digits: HMAC-SHA-256, of each its length in eight bytes, the lowest first, and itself. A question is good for [some seconds](QUESTION_LIFETIME) and one request.
//!
//! [`Inspect`](crate::Inspect) has an example of both sides.
//!
//! The machine keeps no question it asks: each carries its time and a code of a key that only this life of the machine knows;
//! a copy of the machine asks its own. It keeps what was answered rightly, as long as that could be repeated; so
//! strangers who ask cost no memory.

use crate::key::{CODE_LEN, Key};
use alloc::{collections::VecDeque, format, string::String, vec::Vec};
use core::fmt::Write;
use unikernel_rt::time::{Duration, Instant};

/// A client answers at once; a slow network takes some seconds.
pub const QUESTION_LIFETIME: Duration = Duration::from_secs(30);

/// Right answers that are remembered: more in [`QUESTION_LIFETIME`] are refused. A page of a list is one.
pub const ANSWERS_MAX: usize = 4096;

/// The name of the scheme in both headers.
pub const SCHEME: &str = "Unikernel";

/// Its moment, a number that makes it unlike others, and a code.
const QUESTION_LEN: usize = BODY_LEN + CODE_LEN;
const BODY_LEN: usize = 16;

/// What the client signs and how it says that.
pub fn authorization(key: &Key, question: &str, method: &str, target: &str) -> String {
    let code = key.code(&[method.as_bytes(), target.as_bytes(), question.as_bytes()]);
    format!("{SCHEME} question=\"{question}\", code=\"{}\"", hex(&code))
}

/// The value of a parameter of one of the headers, if it has that form.
pub fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let parameters = header.strip_prefix(SCHEME)?.strip_prefix(' ')?;
    let mut pairs = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
    let value = pairs.find(|(known, _)| *known == name)?.1;
    value.strip_prefix('"')?.strip_suffix('"')
}

/// Asks, and judges answers.
pub(crate) struct Gate {
    key: Key,
    /// Of this life of the machine.
    seal: Key,
    /// Questions that were answered rightly, in the order of answering, and until when they are kept.
    answered: VecDeque<([u8; BODY_LEN], Instant)>,
}

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It has no answer to a question that is good.
    Ask,
    /// The answer is wrong.
    WrongKey,
    /// Too many were right.
    Busy,
}

impl Gate {
    /// `random` is for this life of the machine alone.
    pub(crate) fn new(key: Key, random: [u8; 32]) -> Gate {
        Gate { key, seal: seal(random), answered: VecDeque::new() }
    }

    /// Takes back every question: the machine is a copy of what it was, and its twin could have asked them.
    pub(crate) fn begin_life(&mut self, random: [u8; 32]) {
        self.seal = seal(random);
        self.answered.clear();
    }

    /// A new question. `random` is unlike those of others.
    pub(crate) fn question(&self, now: Instant, random: u64) -> String {
        let mut bytes = [0; QUESTION_LEN];
        bytes[..8].copy_from_slice(&now.as_micros().to_be_bytes());
        bytes[8..BODY_LEN].copy_from_slice(&random.to_be_bytes());
        let code = self.seal.code(&[&bytes[..BODY_LEN]]);
        bytes[BODY_LEN..].copy_from_slice(&code);
        hex(&bytes)
    }

    /// Judges the `Authorization` of a request.
    pub(crate) fn admit(
        &mut self,
        header: Option<&str>,
        method: &str,
        target: &str,
        now: Instant,
    ) -> Result<(), Refusal> {
        let header = header.ok_or(Refusal::Ask)?;
        let question = parameter(header, "question").ok_or(Refusal::Ask)?;
        let code = parameter(header, "code").and_then(unhex::<CODE_LEN>).ok_or(Refusal::Ask)?;
        let asked = unhex::<QUESTION_LEN>(question).ok_or(Refusal::Ask)?;
        let body: [u8; BODY_LEN] = *asked.first_chunk().expect("it is longer");
        let asked_at = Instant::from_micros(u64::from_be_bytes(*body.first_chunk().expect("it is longer")));
        let is_fresh = (asked_at..asked_at + QUESTION_LIFETIME).contains(&now);
        self.forget(now);
        let is_new = !self.answered.iter().any(|(known, _)| *known == body);
        let is_ours = self.seal.is_code(&[&body], asked.last_chunk().expect("it is longer"));
        if !(is_ours && is_fresh && is_new) {
            return Err(Refusal::Ask);
        }
        if !self.key.is_code(&[method.as_bytes(), target.as_bytes(), question.as_bytes()], &code) {
            return Err(Refusal::WrongKey);
        }
        if self.answered.len() >= ANSWERS_MAX {
            return Err(Refusal::Busy);
        }
        self.answered.push_back((body, now + QUESTION_LIFETIME));
        Ok(())
    }

    fn forget(&mut self, now: Instant) {
        while self.answered.front().is_some_and(|(_, until)| *until <= now) {
            self.answered.pop_front();
        }
    }
}

fn seal(random: [u8; 32]) -> Key {
    Key::new(&random).expect("it is long enough")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let bytes: Vec<u8> = digits?.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)).collect();
    if text.len() == 2 * LEN { bytes.try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_micros(5_000_000);

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    fn gate() -> Gate {
        Gate::new(key("the key of this test"), [7; 32])
    }

    #[test]
    fn a_right_answer_counts_once() {
        let mut gate = gate();
        let question = gate.question(START, 1);
        let answer = authorization(&key("the key of this test"), &question, "GET", "/ps?max=1");
        assert_eq!(gate.admit(Some(&answer), "GET", "/ps?max=1", START), Ok(()));
        assert_eq!(gate.admit(Some(&answer), "GET", "/ps?max=1", START), Err(Refusal::Ask), "it was used");
    }

    #[test]
    fn other_answers_do_not_count() {
        let question = gate().question(START, 1);
        let (early, late) = (Instant::from_micros(4_999_999), START + QUESTION_LIFETIME);
        let good = |text| authorization(&key(text), &question, "GET", "/ps");
        let right = good("the key of this test");
        let foreign = Gate::new(key("the key of this test"), [8; 32]).question(START, 1);
        let forged = authorization(&key("the key of this test"), &foreign, "GET", "/ps");
        for (header, method, target, now, expected) in [
            (None, "GET", "/ps", START, Refusal::Ask),
            (Some(""), "GET", "/ps", START, Refusal::Ask),
            (Some("Bearer the key of this test"), "GET", "/ps", START, Refusal::Ask),
            (Some("Unikernel question=\"\", code=\"\""), "GET", "/ps", START, Refusal::Ask),
            (Some(&right[..right.len() - 2]), "GET", "/ps", START, Refusal::Ask),
            (Some(&forged), "GET", "/ps", START, Refusal::Ask),
            (Some(&right), "GET", "/ps", late, Refusal::Ask),
            (Some(&right), "GET", "/ps", early, Refusal::Ask),
            (Some(&right), "PUT", "/ps", START, Refusal::WrongKey),
            (Some(&right), "GET", "/netstat", START, Refusal::WrongKey),
            (Some(&good("another key entirely")), "GET", "/ps", START, Refusal::WrongKey),
        ] {
            assert_eq!(gate().admit(header, method, target, now), Err(expected), "{header:?} {method} {target}");
        }
        assert_eq!(gate().admit(Some(&right), "GET", "/ps", START), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_passes() {
        let mut gate = gate();
        let mut ask = |number, now| {
            let answer = authorization(&key("the key of this test"), &gate.question(now, number), "GET", "/");
            gate.admit(Some(&answer), "GET", "/", now)
        };
        (0..ANSWERS_MAX as u64).for_each(|number| assert_eq!(ask(number, START), Ok(())));
        assert_eq!(ask(0xffff_ffff, START), Err(Refusal::Busy));
        assert_eq!(ask(0xffff_ffff, START + QUESTION_LIFETIME), Ok(()));
    }
}
