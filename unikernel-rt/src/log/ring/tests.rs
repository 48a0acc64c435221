use super::*;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

#[test]
fn levels_have_names() {
    for level in Level::ALL {
        assert_eq!((level.name().parse(), level.to_string()), (Ok(level), level.name().into()));
        assert_eq!(super::level(level as u8), Some(level));
    }
    assert!(Level::ALL.is_sorted());
    for name in ["", "off", "Info", "info "] {
        assert!(name.parse::<Level>().is_err(), "{name:?}");
    }
}

fn log(ring: &mut Ring<64>, text: &str) {
    ring.open(Kind::Text, Some(Level::Info));
    ring.write(text.as_bytes());
    ring.close();
}

fn send(ring: &mut Ring<64>, mut len: usize) -> String {
    let mut sent = Vec::new();
    while !ring.unsent().is_empty() && len > 0 {
        let piece = ring.unsent().len().min(len);
        sent.extend_from_slice(&ring.unsent()[..piece]);
        ring.mark_sent(piece);
        len -= piece;
    }
    String::from_utf8(sent).unwrap()
}

fn kept(ring: &Ring<64>, mut cursor: Cursor) -> String {
    let mut lines = Vec::new();
    while let Some(line) = ring.read(&mut cursor) {
        lines.push(String::from_utf8(line.parts.concat()).unwrap());
    }
    lines.join(" ")
}

/// Each word is an action: `+text` logs, `-n` sends so many bytes, `x` drops what was not sent.
fn check(actions: &str, sent: &str, kept_lines: &str, dropped: u64) {
    let mut ring = Ring::<64>::new();
    let mut all = String::new();
    for action in actions.split(' ') {
        match action.split_at(1) {
            ("+", text) => log(&mut ring, text),
            ("-", len) => all += &send(&mut ring, len.parse().unwrap()),
            _ => drop(ring.give_up()),
        }
    }
    let shown = (all, kept(&ring, ring.oldest()), ring.take_dropped());
    assert_eq!(shown, (sent.into(), kept_lines.into(), dropped), "{actions}");
    assert_eq!(ring.take_dropped(), 0);
}

#[test]
fn lines_are_sent_once_and_kept() {
    check("+one +two", "", "one two", 0);
    check("+one -9 +two -9", "onetwo", "one two", 0);
    check("+one -2", "on", "one", 0);
    check("+one -2 -1 +two -3", "onetwo", "one two", 0);
}

#[test]
fn a_line_that_was_sent_makes_room() {
    // Four of these fit.
    let four = "+aaaaaaaaaaaa +bbbbbbbbbbbb +cccccccccccc +dddddddddddd";
    check(four, "", "aaaaaaaaaaaa bbbbbbbbbbbb cccccccccccc dddddddddddd", 0);
    let kept = "bbbbbbbbbbbb cccccccccccc dddddddddddd eeeeeeeeeeee";
    check(&format!("{four} -12 +eeeeeeeeeeee"), "aaaaaaaaaaaa", kept, 0);
    check(
        &format!("{four} -99 +eeeeeeeeeeee -99"),
        "aaaaaaaaaaaabbbbbbbbbbbbccccccccccccddddddddddddeeeeeeeeeeee",
        kept,
        0,
    );
}

#[test]
fn what_was_not_sent_is_never_overwritten() {
    let four = "+aaaaaaaaaaaa +bbbbbbbbbbbb +cccccccccccc +dddddddddddd";
    let kept = "aaaaaaaaaaaa bbbbbbbbbbbb cccccccccccc dddddddddddd";
    check(&format!("{four} +e"), "", kept, 1);
    check(&format!("{four} -11 +e +f"), "aaaaaaaaaaa", kept, 2);
    check("+ab x +cd -9", "cd", "ab cd", 1);
    // Longer than all the room there is.
    check(&format!("+ab -9 +{}", "x".repeat(100)), "ab", "", 1);
}

#[test]
fn a_line_inside_another_is_dropped() {
    let mut ring = Ring::<64>::new();
    ring.open(Kind::Text, None);
    ring.write(b"outer");
    log(&mut ring, "inner");
    ring.write(b" line");
    ring.close();
    assert_eq!((kept(&ring, ring.oldest()), ring.take_dropped()), ("outer line".into(), 1));
}

#[test]
fn a_line_that_is_given_up_leaves_nothing() {
    let mut ring = Ring::<64>::new();
    ring.open(Kind::Frame, None);
    ring.write(b"half");
    ring.discard();
    log(&mut ring, "whole");
    assert_eq!((kept(&ring, ring.oldest()), ring.take_dropped()), ("whole".into(), 1));
}

#[test]
fn readers_learn_what_they_missed() {
    let mut ring = Ring::<64>::new();
    let mut cursor = ring.newest();
    for text in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"] {
        log(&mut ring, text);
        send(&mut ring, 99);
    }
    let last = kept(&ring, ring.last(2));
    let first = ring.read(&mut cursor).map(|line| line.parts.concat());
    assert_eq!((first, cursor.lost, last), (Some(b"four".to_vec()), 3, "nine ten".into()));
    assert_eq!(ring.read(&mut cursor).map(|line| (line.kind, line.level)), Some((Kind::Text, Some(Level::Info))));
}

#[test]
fn readers_learn_what_had_no_room() {
    let mut ring = Ring::<64>::new();
    let (mut cursor, mut late) = (ring.newest(), Cursor::default());
    // The console has had nothing, so there is room for three.
    (0..5).for_each(|_| log(&mut ring, "aaaaaaaaaaaaaaaa"));
    assert_eq!((kept(&ring, cursor).len(), cursor.lost), (50, 0));
    while ring.read(&mut cursor).is_some() && ring.read(&mut late).is_some() {}
    assert_eq!((cursor.lost, late.lost, ring.newest().lost), (2, 0, 0));
    assert_eq!(ring.counts(), (3, 2));
    // What the console never gets is not lost to readers.
    ring.give_up();
    assert_eq!((ring.read(&mut cursor).is_none(), cursor.lost, ring.take_dropped()), (true, 2, 5));
}

#[test]
fn damage_ends_reading() {
    let mut ring = Ring::<64>::new();
    ["one", "two"].iter().for_each(|text| log(&mut ring, text));
    ring.bytes[1] = 0xff;
    assert_eq!(kept(&ring, ring.oldest()), "");
    (ring.start, ring.end) = (0, u64::MAX);
    assert_eq!(kept(&ring, ring.oldest()), "");
}

#[test]
fn nothing_is_sent_where_all_was() {
    let mut ring = Ring::<64>::new();
    ring.mark_sent(0);
    assert!(ring.is_sent());
    log(&mut ring, "line");
    assert_eq!(send(&mut ring, 100), "line");
    ring.mark_sent(0);
    log(&mut ring, "next");
    assert_eq!(send(&mut ring, 100), "next");
    ring.open(Kind::Text, None);
    assert!(ring.is_open());
    ring.close();
    assert!(!ring.is_open());
}
