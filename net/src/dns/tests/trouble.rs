//! Servers that are silent, refuse, lie, truncate, loop, or are not who they say.

use super::{
    lookups::{BOTH, server},
    messages::*,
    network::*,
};
use crate::dns::{Families, Resolver, Settings, limits::MISFITS_MAX};
use core::net::SocketAddr;
use std::{format, string::String, vec, vec::Vec};
use unikernel_rt::time::Instant;

const ONLY_V4: Families = Families { v4: true, v6: false };

/// The address that the honest server gives.
const GOOD: &str = "^ A 60 10.1.0.1";

/// Looks up `w.a` with two servers that follow `script`; what came out, when in milliseconds, and what was asked.
async fn look_with(servers: [SocketAddr; 2], script: impl Fn(&Asked) -> Vec<Reply> + 'static) -> (String, Vec<String>) {
    let (network, start) = (Scripted::new(script), Instant::now());
    let resolver = Resolver::new(network.clone());
    resolver.configure(Settings::new(servers, []));
    let result = shown(resolver.lookup("w.a", ONLY_V4).await);
    (format!("{result} at {}", start.elapsed().as_millis()), network.heard())
}

async fn look(script: impl Fn(&Asked) -> Vec<Reply> + 'static) -> (String, Vec<String>) {
    look_with([server(1), server(2)], script).await
}

#[unikernel_rt::test]
async fn silent_servers_are_asked_in_rounds() {
    let (result, heard) = look(|_| vec![]).await;
    assert_eq!(result, "NoAnswer at 14000");
    let times: Vec<_> = heard.iter().map(|text| text.strip_suffix(" w.a A").unwrap()).collect();
    assert_eq!(times, ["0 1", "1000 2", "2000 1", "4000 2", "6000 1", "10000 2"]);
}

#[unikernel_rt::test]
async fn the_second_server_answers() {
    let (result, heard) = look(|asked| match asked.server == server(2) {
        true => vec![asked.response(0, GOOD)],
        false => vec![],
    })
    .await;
    assert_eq!((result.as_str(), heard.len()), ("10.1.0.1 at 1000", 2));
}

#[unikernel_rt::test]
async fn the_server_that_answered_goes_first_next_time() {
    let network = Scripted::new(|asked| match asked.server == server(2) {
        true => vec![asked.response(0, GOOD)],
        false => vec![],
    });
    let resolver = Resolver::new(network.clone());
    resolver.configure(Settings::new([server(1), server(2)], []));
    for (name, millis) in [("a.", 1000), ("b.", 1000), ("c.", 1000)] {
        assert_eq!(shown(resolver.lookup(name, ONLY_V4).await), "10.1.0.1");
        assert_eq!(Instant::now(), Instant::from_millis(millis));
    }
}

#[unikernel_rt::test]
async fn a_late_answer_is_asked_for_again() {
    // The first answer takes 1.2 s and misses its socket; the second is ready.
    let (result, _) = look_with([server(1); 2], |asked| {
        let late = if asked.at.as_micros() % 10_000_000 < 900_000 { 1200 } else { 10 };
        vec![asked.response(0, GOOD).after(late)]
    })
    .await;
    assert_eq!(result, "10.1.0.1 at 1010");
}

#[unikernel_rt::test]
async fn servers_that_refuse_are_not_asked_again() {
    for code in [SERVER_FAILURE, REFUSED, 9, 15] {
        let (result, heard) = look(move |asked| vec![asked.response(code, "").after(5)]).await;
        assert_eq!((result.as_str(), heard.len()), ("Refused at 10", 2), "{code}");
    }
    let (result, _) = look(|asked| match asked.server == server(2) {
        true => vec![asked.response(0, GOOD)],
        false => vec![asked.response(SERVER_FAILURE, "")],
    })
    .await;
    assert_eq!(result, "10.1.0.1 at 0");
}

#[unikernel_rt::test]
async fn servers_without_edns() {
    let (result, heard) = look(|asked| match asked.edns {
        true => vec![Reply::now(
            asked.server,
            [&asked.id.to_be_bytes()[..], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
        )],
        false => vec![asked.response(0, GOOD)],
    })
    .await;
    assert_eq!(result, "10.1.0.1 at 0");
    assert_eq!(heard, ["0 1 w.a A", "0 1 w.a A -"]);
    let (result, heard) = look(|asked| vec![asked.response(FORMAT_ERROR, "")]).await;
    assert_eq!((result.as_str(), heard.len()), ("Refused at 0", 4));
}

#[unikernel_rt::test]
async fn answers_from_elsewhere_do_not_count() {
    let (result, _) = look(|asked| {
        let wrong = "^ A 60 10.6.6.6";
        let elsewhere = [SocketAddr::from(([10, 0, 0, 66], 53)), SocketAddr::from(([10, 0, 0, 1], 54))];
        let mut replies: Vec<_> = elsewhere.map(|from| Reply { from, ..asked.response(0, wrong) }).into();
        replies.push(asked.response(0, GOOD).after(10));
        replies
    })
    .await;
    assert_eq!(result, "10.1.0.1 at 10");
}

/// Some wrong answers before the right one: other id, other name, other type, no response at all.
fn wrong(asked: &Asked, count: u32) -> Vec<Reply> {
    let wrong = |index: u32| match index % 4 {
        0 => Asked { id: asked.id.wrapping_add(1), ..asked.clone() }.response(0, "^ A 60 10.6.6.6"),
        1 => Asked { question: question("x.a A"), ..asked.clone() }.response(0, "w.a A 60 10.6.6.6"),
        2 => Asked { question: question("w.a AAAA"), ..asked.clone() }.response(0, "w.a A 60 10.6.6.6"),
        _ => Reply::now(asked.server, vec![1, 2, 3]),
    };
    (0..count).map(|index| wrong(index).after(index.into())).collect()
}

#[unikernel_rt::test]
async fn answers_to_other_questions_are_not_heard() {
    let (result, heard) = look(|asked| {
        let mut replies = wrong(asked, MISFITS_MAX);
        replies.push(asked.response(0, GOOD).after(10));
        replies
    })
    .await;
    assert_eq!((result.as_str(), heard.len()), ("10.1.0.1 at 10", 1));
}

#[unikernel_rt::test]
async fn who_is_guessed_at_asks_over_tcp() {
    let (result, heard) = look(|asked| match asked.tcp {
        true => framed(asked.response(0, GOOD)),
        false => wrong(asked, MISFITS_MAX + 1),
    })
    .await;
    assert_eq!(result, "10.1.0.1 at 3");
    assert_eq!(heard, ["0 1 w.a A", "t 3 1 w.a A"]);
}

#[unikernel_rt::test]
async fn a_second_answer_finds_nobody() {
    let (result, heard) =
        look(|asked| vec![asked.response(0, GOOD), asked.response(0, "^ A 60 10.6.6.6"), asked.response(0, GOOD)])
            .await;
    assert_eq!((result.as_str(), heard.len()), ("10.1.0.1 at 0", 1));
}

#[unikernel_rt::test]
async fn malformed_answers() {
    let cut = |asked: &Asked| {
        let mut reply = asked.response(0, GOOD);
        reply.bytes.pop();
        vec![reply]
    };
    let (result, heard) = look(move |asked| cut(asked)).await;
    assert_eq!((result.as_str(), heard.len()), ("BadAnswer at 0", 2));
    let (result, _) = look(move |asked| match asked.server == server(2) {
        true => vec![asked.response(0, GOOD)],
        false => cut(asked),
    })
    .await;
    assert_eq!(result, "10.1.0.1 at 0");
}

#[unikernel_rt::test]
async fn a_datagram_longer_than_asked_for_is_malformed() {
    let records: Vec<_> = (0..100).map(|index| format!("^ A 60 10.0.0.{index}")).collect();
    let (result, _) = look(move |asked| vec![asked.response(0, &records.join(";"))]).await;
    assert_eq!(result, "BadAnswer at 0");
}

#[unikernel_rt::test]
async fn aliases_in_a_circle() {
    let (result, heard) =
        look(|asked| vec![asked.response(0, "w.a CNAME 60 x.b; y.c CNAME 60 w.a; x.b CNAME 60 y.c")]).await;
    assert_eq!((result.as_str(), heard.len()), ("AliasLoop at 0", 1));
    // Over several answers.
    let (result, heard) = look(|asked| match asked.question == question("w.a A") {
        true => vec![asked.response(0, "w.a CNAME 60 x.b")],
        false => vec![asked.response(0, "x.b CNAME 60 w.a")],
    })
    .await;
    assert_eq!((result.as_str(), heard.len()), ("AliasLoop at 0", 2));
}

#[unikernel_rt::test]
async fn aliases_without_end() {
    let (result, heard) = look(|asked| {
        let depth = asked.question.name.labels().count();
        vec![asked.response(0, &format!("^ CNAME 60 {}", vec!["a"; depth + 1].join(".")))]
    })
    .await;
    assert_eq!((result.as_str(), heard.len()), ("AliasLoop at 0", 8));
}

/// The length in front of the message, as TCP has it.
fn framed(reply: Reply) -> Vec<Reply> {
    let len = (reply.bytes.len() as u16).to_be_bytes();
    vec![Reply { bytes: [&len[..], &reply.bytes].concat(), ..reply }]
}

/// A server whose answer over UDP is cut, and that follows `script` over TCP.
async fn look_over_tcp(port: u16, script: impl Fn(&Asked) -> Vec<Reply> + 'static) -> (String, Vec<String>) {
    let servers = [1, 2].map(|last| SocketAddr::new(server(last).ip(), port));
    look_with(servers, move |asked| match asked.tcp {
        true => script(asked),
        false => vec![asked.response(TRUNCATED, "")],
    })
    .await
}

#[unikernel_rt::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let (result, heard) = look_over_tcp(53, |asked| framed(asked.response(0, GOOD).after(40))).await;
    assert_eq!(result, "10.1.0.1 at 40");
    assert_eq!(heard, ["0 1 w.a A", "t 0 1 w.a A"]);
}

#[unikernel_rt::test]
async fn an_answer_of_64_kib_in_pieces() {
    let records: Vec<_> = (0..4090).map(|index| format!("^ A 60 10.0.{}.{}", index / 256, index % 256)).collect();
    let (result, _) = look_over_tcp(53, move |asked| {
        let [whole] = framed(asked.response(0, &records.join(";"))).try_into().ok().unwrap();
        assert!(whole.bytes.len() > 65_400);
        let parts = whole.bytes.chunks(1000).enumerate();
        parts.map(|(index, part)| Reply::now(asked.server, part.to_vec()).after(index as u64)).collect()
    })
    .await;
    assert_eq!(result.split(' ').count(), 32 + 2);
    assert!(result.starts_with("10.0.0.0 10.0.0.1 ") && result.ends_with(" at 65"), "{result}");
}

#[unikernel_rt::test]
async fn tcp_that_hangs() {
    // Never accepted; hangs before the length, in it, and in the message.
    let (result, _) = look_over_tcp(0, |_| vec![]).await;
    assert_eq!(result, "NoAnswer at 15000");
    let (result, _) = look_over_tcp(53, |_| vec![]).await;
    assert_eq!(result, "NoAnswer at 15000");
    for len in [1, 2, 20] {
        let (result, _) = look_over_tcp(53, move |asked| {
            let [mut reply] = framed(asked.response(0, GOOD)).try_into().ok().unwrap();
            reply.bytes.truncate(len);
            vec![reply]
        })
        .await;
        assert_eq!(result, "NoAnswer at 15000", "{len}");
    }
}

#[unikernel_rt::test]
async fn tcp_that_is_refused_or_closed() {
    let (result, heard) = look_over_tcp(1, |_| vec![]).await;
    // Every round, both servers, over UDP only.
    assert_eq!((result.as_str(), heard.len()), ("NoAnswer at 0", 6));
    let (result, heard) = look_over_tcp(53, |asked| vec![Reply::now(asked.server, vec![])]).await;
    assert_eq!((result.as_str(), heard.len()), ("NoAnswer at 0", 12));
}

#[unikernel_rt::test]
async fn answers_over_tcp_are_checked_like_others() {
    for change in [0, 13, 40] {
        let (result, _) = look_over_tcp(53, move |asked| {
            let mut reply = asked.response(0, "^ A 60 10.1.0.1; ^ A 60 10.1.0.2");
            reply.bytes[change] ^= 0x55;
            if change == 40 {
                reply.bytes.truncate(change);
            }
            framed(reply)
        })
        .await;
        assert_eq!(result, "BadAnswer at 0", "{change}");
    }
    let (result, _) = look_over_tcp(53, |asked| framed(asked.response(TRUNCATED, ""))).await;
    assert_eq!(result, "BadAnswer at 0");
    let (result, _) = look_over_tcp(53, |asked| framed(asked.response(NAME_ERROR, ""))).await;
    assert_eq!(result, "NoSuchName at 0");
}

#[unikernel_rt::test]
async fn a_failure_is_not_an_absence() {
    let network = Scripted::new(|asked| match asked.question.kind {
        crate::dns::message::Kind::A => vec![asked.response(SERVER_FAILURE, "")],
        crate::dns::message::Kind::Aaaa => vec![asked.response(0, "| a SOA 60 60")],
    });
    let resolver = Resolver::new(network.clone());
    resolver.configure(Settings::new([server(1)], ["lab"]));
    assert_eq!(shown(resolver.lookup("w.a", BOTH).await), "Refused");
    assert_eq!(network.heard().len(), 2, "the search domain is not tried");
}

#[unikernel_rt::test]
async fn one_family_is_enough() {
    let network = Scripted::new(|asked| match asked.question.kind {
        crate::dns::message::Kind::A => vec![],
        crate::dns::message::Kind::Aaaa => vec![asked.response(0, "^ AAAA 60 fd00::1")],
    });
    let resolver = Resolver::new(network);
    resolver.configure(Settings::new([server(1)], []));
    assert_eq!(shown(resolver.lookup("w.a", BOTH).await), "fd00::1");
}
