//! What a message means.

use super::messages::*;
use crate::dns::answer::{Answer, Misfit};
use std::{format, string::String, vec::Vec};

const ID: u16 = 0x1234;

fn text(answer: Result<Answer, Misfit>) -> String {
    let ttl = |ttl: Option<u32>| ttl.map_or("-".into(), |ttl| format!("{ttl}"));
    match answer {
        Ok(Answer::Addresses { addresses, ttl }) => format!("{} for {ttl}", shown::<()>(Ok(addresses))),
        Ok(Answer::Alias { target, ttl }) => format!("alias of {target} for {ttl}"),
        Ok(Answer::NoName { ttl: time }) => format!("no name for {}", ttl(time)),
        Ok(Answer::NoData { ttl: time }) => format!("no data for {}", ttl(time)),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn check(asked: &str, flags: u16, sections: &str, expected: &str) {
    let question = question(asked);
    let message = response(ID, flags, &question, sections);
    assert_eq!(text(Answer::read(&message, ID, &question)), expected, "{sections}");
}

#[test]
fn addresses() {
    check("w.a A", 0, "^ A 60 10.0.0.1", "10.0.0.1 for 60");
    check("W.A A", 0, "w.a A 60 10.0.0.1; ^ A 30 10.0.0.2", "10.0.0.1 10.0.0.2 for 30");
    check("w.a AAAA", 0, "w.a AAAA 60 fd00::1", "fd00::1 for 60");
    check("w.a A", 0, "w.a TXT 9 x; w.a A 60 10.0.0.1 | a NS 5 n.a | n.a A 5 10.9.9.9; . OPT 0 -", "10.0.0.1 for 60");
}

#[test]
fn times_that_are_negative_are_zero() {
    check("w.a A", 0, "w.a A 2147483648 10.0.0.1", "10.0.0.1 for 0");
    check("w.a A", 0, "w.a A 2147483647 10.0.0.1", "10.0.0.1 for 2147483647");
}

#[test]
fn only_what_was_asked_for_counts() {
    check("w.a A", 0, "x.a A 60 10.0.0.1", "no data for -");
    check("w.a A", 0, "w.a AAAA 60 fd00::1", "no data for -");
    check("w.a A", 0, "| | w.a A 60 10.0.0.1", "no data for -");
    check("w.a A", 0, "w.a CNAME 60 x.b; y.b A 60 10.0.0.1", "alias of x.b for 60");
}

#[test]
fn aliases_in_any_order() {
    check("w.a A", 0, "w.a CNAME 60 x.b; x.b A 50 10.0.0.1", "10.0.0.1 for 50");
    check("w.a A", 0, "z.c A 70 10.0.0.1; y.b CNAME 80 z.c; w.a CNAME 60 Y.B", "10.0.0.1 for 60");
    let chain = |len: usize| -> String {
        let aliases = (0..len).map(|index| format!("n{index} CNAME 60 n{}", index + 1));
        format!("{}; n{len} A 60 10.0.0.1", aliases.collect::<Vec<_>>().join("; "))
    };
    check("n0 A", 0, &chain(11), "10.0.0.1 for 60");
    check("n0 A", 0, &chain(12), "Ok(Loop)");
}

#[test]
fn aliases_that_lead_away_or_round() {
    check("w.a A", 0, "w.a CNAME 60 x.b", "alias of x.b for 60");
    check("w.a A", 0, "w.a CNAME 60 x.b; x.b CNAME 30 y.c", "alias of y.c for 30");
    check("w.a A", 0, "w.a CNAME 60 w.a", "Ok(Loop)");
    check("w.a A", 0, "w.a CNAME 60 ^", "Ok(Loop)");
    check("w.a A", 0, "w.a CNAME 60 x.b; x.b CNAME 60 y.c; y.c CNAME 60 x.b", "Ok(Loop)");
}

#[test]
fn absence() {
    check("w.a A", NAME_ERROR, "", "no name for -");
    check("w.a A", NAME_ERROR, "| a SOA 900 300", "no name for 300");
    check("w.a A", NAME_ERROR, "| a SOA 200 300", "no name for 200");
    check("w.a A", NAME_ERROR, "| . SOA 900 300", "no name for 300");
    check("w.a A", NAME_ERROR, "w.a CNAME 60 x.b | b SOA 900 300", "no name for 60");
    check("w.a A", NAME_ERROR, "| b SOA 900 300", "no name for -");
    check("w.a AAAA", 0, "| a SOA 900 300", "no data for 300");
    check("w.a AAAA", 0, "w.a CNAME 60 x.b | b SOA 900 30; b NS 5 n.b", "no data for 30");
    check("w.a AAAA", 0, "w.a CNAME 60 x.b | a SOA 900 30", "alias of x.b for 60");
}

#[test]
fn refusals() {
    check("w.a A", SERVER_FAILURE, "", "Ok(Failed)");
    check("w.a A", REFUSED, "w.a A 60 10.0.0.1", "Ok(Failed)");
    check("w.a A", FORMAT_ERROR, "", "Ok(NotUnderstood)");
    // A referral, and an extended code (BADVERS).
    check("w.a A", 0, "| a NS 60 n.a | n.a A 60 10.0.0.1", "Ok(Failed)");
    check("w.a A", 0, "| | . OPT 16777216 -", "Ok(Failed)");
}

#[test]
fn cut_messages_are_not_read_further() {
    check("w.a A", TRUNCATED, "", "Ok(Truncated)");
    let question = question("w.a A");
    let whole = response(ID, TRUNCATED, &question, "w.a A 60 10.0.0.1");
    for len in 21..=whole.len() {
        assert_eq!(Answer::read(&whole[..len], ID, &question), Ok(Answer::Truncated), "{len}");
    }
}

/// The response to `w.a A` with `change` made to it.
fn check_changed(change: impl Fn(&mut Vec<u8>), expected: Misfit) {
    let question = question("w.a A");
    let mut message = response(ID, 0, &question, "w.a A 60 10.0.0.1");
    change(&mut message);
    assert_eq!(Answer::read(&message, ID, &question), Err(expected), "{message:?}");
}

#[test]
fn answers_to_other_questions() {
    check_changed(|message| message[0] ^= 1, Misfit::Foreign);
    check_changed(|message| message[2] &= 0x7f, Misfit::Foreign);
    check_changed(|message| message[2] |= 0x08, Misfit::Foreign);
    check_changed(|message| message[5] = 0, Misfit::Foreign);
    check_changed(|message| message[5] = 2, Misfit::Foreign);
    check_changed(|message| message[13] = b'x', Misfit::Foreign);
    check_changed(|message| message[18] = 28, Misfit::Foreign);
    check_changed(|message| message[20] = 3, Misfit::Foreign);
    check_changed(|message| message.truncate(20), Misfit::Foreign);
    check_changed(|message| message.truncate(11), Misfit::Foreign);
    check_changed(|message| message.clear(), Misfit::Foreign);
}

#[test]
fn answers_that_are_cut_or_lie() {
    check_changed(|message| message.truncate(39), Misfit::Malformed);
    check_changed(|message| message[7] = 2, Misfit::Malformed);
    check_changed(|message| message[6..12].fill(255), Misfit::Malformed);
    // The record: owner at 21, type 26, class 28, time 30, length 34, data 36.
    check_changed(|message| message[35] = 5, Misfit::Malformed);
    check_changed(|message| message[35] = 3, Misfit::Malformed);
    check_changed(|message| message[27] = 28, Misfit::Malformed);
    check_changed(|message| message[27] = 5, Misfit::Malformed);
    check_changed(|message| message[27] = 6, Misfit::Malformed);
    check_changed(|message| message[21..23].copy_from_slice(&[0xc0, 21]), Misfit::Malformed);
}

/// A server that does not understand may send the bare header.
#[test]
fn an_error_without_the_question() {
    let question = question("w.a A");
    let header = |code: u8| [0x12, 0x34, 0x81, 0x80 | code, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Answer::read(&header(1), ID, &question), Ok(Answer::NotUnderstood));
    assert_eq!(Answer::read(&header(4), ID, &question), Ok(Answer::NotUnderstood));
    assert_eq!(Answer::read(&header(0), ID, &question), Err(Misfit::Foreign));
    assert_eq!(Answer::read(&header(3), ID, &question), Err(Misfit::Foreign));
}

#[test]
fn of_thousands_of_addresses_the_first_are_taken() {
    let records: Vec<_> =
        (0..4000).map(|index| format!("^ A {} 10.0.{}.{}", 9000 - index, index / 256, index % 256)).collect();
    let question = question("w.a A");
    let message = response(ID, 0, &question, &records.join(";"));
    assert!(message.len() > 60_000 && message.len() < 65_536);
    let Ok(Answer::Addresses { addresses, ttl }) = Answer::read(&message, ID, &question) else { panic!() };
    assert_eq!((addresses.len(), ttl), (32, 9000 - 31));
}
