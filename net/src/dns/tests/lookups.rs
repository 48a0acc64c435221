//! Lookups that go well: families, aliases, search, cache, sharing.

use super::{messages::*, network::*};
use crate::dns::{Families, LookupError, Resolver, Settings};
use core::net::SocketAddr;
use std::{collections::BTreeSet, format, string::String, vec, vec::Vec};
use unikernel_rt::{
    future::{join, join_all},
    time::{Duration, Instant, sleep, timeout},
};

pub(super) const BOTH: Families = Families { v4: true, v6: true };
const ONLY_V4: Families = Families { v4: true, v6: false };

pub(super) fn server(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 53))
}

/// A resolver with one server that follows `script`, and one search domain.
fn resolver(script: impl Fn(&Asked) -> Vec<Reply> + 'static) -> (Resolver<Scripted>, Scripted) {
    let network = Scripted::new(script);
    let resolver = Resolver::new(network.clone());
    resolver.configure(Settings::new([server(1)], ["lab"]));
    (resolver, network)
}

/// A server that knows some names, each question `name KIND` with the sections of its answer; all other names do not exist.
fn zone(records: &'static [(&str, &str)]) -> impl Fn(&Asked) -> Vec<Reply> {
    |asked| {
        let found = records.iter().find(|(text, _)| question(text) == asked.question);
        vec![match found {
            Some((_, sections)) => asked.response(0, sections),
            None => asked.response(NAME_ERROR, "| . SOA 60 60"),
        }]
    }
}

async fn look(resolver: &Resolver<Scripted>, host: &str) -> String {
    shown(resolver.lookup(host, BOTH).await)
}

#[unikernel_rt::test]
async fn both_families_are_asked_for_at_once() {
    let (resolver, network) = resolver(zone(&[
        ("w.a A", "^ A 60 10.1.0.1; ^ A 60 10.1.0.2"),
        ("w.a AAAA", "^ AAAA 60 fd00::1; ^ AAAA 60 fd00::2; ^ AAAA 60 fd00::3"),
    ]));
    assert_eq!(look(&resolver, "W.a").await, "fd00::1 10.1.0.1 fd00::2 10.1.0.2 fd00::3");
    assert_eq!(network.heard(), ["0 1 w.a Aaaa", "0 1 w.a A"]);
}

#[unikernel_rt::test]
async fn only_families_of_use_are_asked_for() {
    let (resolver, network) = resolver(zone(&[("w.a A", "^ A 60 10.1.0.1"), ("v.a AAAA", "^ AAAA 60 fd00::1")]));
    assert_eq!(shown(resolver.lookup("w.a.", ONLY_V4).await), "10.1.0.1");
    assert_eq!(network.heard(), ["0 1 w.a A"]);
    let only_v6 = Families { v4: false, v6: true };
    assert_eq!(shown(resolver.lookup("v.a.", only_v6).await), "fd00::1");
    assert_eq!(network.heard(), ["0 1 v.a Aaaa"]);
    assert_eq!(resolver.lookup("localhost", only_v6).await.unwrap(), ["::1".parse::<core::net::IpAddr>().unwrap()]);
}

#[unikernel_rt::test]
async fn what_needs_no_server() {
    let resolver = Resolver::new(Scripted::new(|_| panic!("nobody is asked")));
    assert_eq!(look(&resolver, "10.0.0.9").await, "10.0.0.9");
    assert_eq!(look(&resolver, "[fd00::9]").await, "fd00::9");
    assert_eq!(look(&resolver, "localhost").await, "::1 127.0.0.1");
    assert_eq!(look(&resolver, "db.localhost.").await, "::1 127.0.0.1");
    assert_eq!(look(&resolver, "x.invalid").await, "NoSuchName");
    assert_eq!(look(&resolver, "no name").await, "NotAName");
    assert_eq!(look(&resolver, "127.1").await, "NotAName");
    assert_eq!(look(&resolver, "").await, "NotAName");
    assert_eq!(look(&resolver, "w.a").await, "NoServer");
}

#[unikernel_rt::test]
async fn ipv6_may_lag_a_little() {
    for (lag, expected) in [(50, "fd00::1 10.1.0.1"), (51, "10.1.0.1")] {
        let (resolver, _) = resolver(move |asked| match asked.question == question("w.a A") {
            true => vec![asked.response(0, "^ A 60 10.1.0.1").after(20)],
            false => vec![asked.response(0, "^ AAAA 60 fd00::1").after(20 + lag)],
        });
        let start = Instant::now();
        assert_eq!(look(&resolver, "w.a").await, expected, "{lag}");
        assert_eq!(start.elapsed(), Duration::from_millis(70));
        // The late answer is not lost: the next lookup has it.
        sleep(Duration::from_millis(10)).await;
        assert_eq!(look(&resolver, "w.a").await, "fd00::1 10.1.0.1");
    }
}

#[unikernel_rt::test]
async fn ipv4_is_waited_for() {
    let (resolver, _) = resolver(|asked| match asked.question == question("w.a A") {
        true => vec![asked.response(0, "^ A 60 10.1.0.1").after(900)],
        false => vec![asked.response(0, "^ AAAA 60 fd00::1").after(20)],
    });
    assert_eq!(look(&resolver, "w.a").await, "fd00::1 10.1.0.1");
}

#[unikernel_rt::test]
async fn an_alias_that_leads_out_of_the_answer_is_followed() {
    let (resolver, network) = resolver(zone(&[
        ("w.a A", "^ CNAME 60 x.b"),
        ("x.b A", "^ CNAME 40 y.c; y.c CNAME 50 z.d"),
        ("z.d A", "^ A 90 10.1.0.1"),
        ("w.a AAAA", "^ CNAME 60 x.b; x.b CNAME 40 y.c | c SOA 60 60"),
    ]));
    assert_eq!(look(&resolver, "w.a").await, "10.1.0.1");
    assert_eq!(network.heard(), ["0 1 w.a Aaaa", "0 1 w.a A", "0 1 x.b A", "0 1 z.d A"]);
    // It is remembered for as long as the shortest-lived part.
    sleep(Duration::from_millis(39_999)).await;
    assert_eq!(look(&resolver, "w.a").await, "10.1.0.1");
    assert!(network.heard().is_empty());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(look(&resolver, "w.a").await, "10.1.0.1");
    assert_eq!(network.heard().len(), 4);
}

#[unikernel_rt::test]
async fn names_are_searched() {
    let (resolver, network) = resolver(zone(&[("db.lab A", "^ A 60 10.1.0.1"), ("x.y.lab A", "^ A 60 10.1.0.2")]));
    assert_eq!(shown(resolver.lookup("db", ONLY_V4).await), "10.1.0.1");
    assert_eq!(network.heard(), ["0 1 db.lab A"]);
    assert_eq!(shown(resolver.lookup("x.y", ONLY_V4).await), "10.1.0.2");
    assert_eq!(network.heard(), ["0 1 x.y A", "0 1 x.y.lab A"]);
    assert_eq!(shown(resolver.lookup("db.", ONLY_V4).await), "NoSuchName");
    assert_eq!(network.heard(), ["0 1 db A"]);
    assert_eq!(shown(resolver.lookup("no", ONLY_V4).await), "NoSuchName");
    assert_eq!(network.heard(), ["0 1 no.lab A", "0 1 no A"]);
}

#[unikernel_rt::test]
async fn a_name_without_addresses_exists() {
    let (resolver, _) = resolver(zone(&[("mx.a A", "| a SOA 60 60"), ("mx.a AAAA", "| a SOA 60 60")]));
    assert_eq!(look(&resolver, "mx.a").await, "NoAddress");
}

/// How many questions are asked when `host` is looked up, and again after `wait` milliseconds.
async fn check_cached(sections: &'static str, flags: u16, wait: u64, expected: usize) {
    let (resolver, network) = resolver(move |asked| vec![asked.response(flags, sections)]);
    for _ in 0..3 {
        let _ = resolver.lookup("w.a.", ONLY_V4).await;
    }
    sleep(Duration::from_millis(wait)).await;
    let _ = resolver.lookup("W.A.", ONLY_V4).await;
    assert_eq!(network.heard().len(), expected, "{sections}");
}

#[unikernel_rt::test]
async fn answers_are_remembered() {
    check_cached("^ A 60 10.1.0.1", 0, 59_999, 1).await;
    check_cached("^ A 60 10.1.0.1", 0, 60_000, 2).await;
    check_cached("^ A 0 10.1.0.1", 0, 999, 1).await;
    check_cached("^ A 0 10.1.0.1", 0, 1000, 2).await;
    check_cached("^ A 2147483647 10.1.0.1", 0, 86_399_999, 1).await;
    check_cached("^ A 2147483647 10.1.0.1", 0, 86_400_000, 2).await;
    check_cached("| a SOA 90 60", 0, 59_999, 1).await;
    check_cached("| a SOA 90 60", NAME_ERROR, 60_000, 2).await;
    check_cached("| a SOA 86400 86400", NAME_ERROR, 299_999, 1).await;
    check_cached("| a SOA 86400 86400", NAME_ERROR, 300_000, 2).await;
    // Without an SOA, absence is not remembered.
    check_cached("", NAME_ERROR, 0, 4).await;
}

#[unikernel_rt::test]
async fn other_servers_know_other_answers() {
    let (resolver, network) = resolver(|asked| {
        let last = if asked.server == server(1) { 1 } else { 2 };
        vec![asked.response(0, &format!("^ A 60 10.1.0.{last}"))]
    });
    assert_eq!(shown(resolver.lookup("w.a", ONLY_V4).await), "10.1.0.1");
    resolver.configure(Settings::new([server(1)], ["lab"]));
    assert_eq!(shown(resolver.lookup("w.a", ONLY_V4).await), "10.1.0.1");
    assert_eq!(network.heard().len(), 1, "nothing changed");
    resolver.configure(Settings::new([server(2)], ["lab"]));
    assert_eq!(shown(resolver.lookup("w.a", ONLY_V4).await), "10.1.0.2");
    resolver.configure(Settings::default());
    assert_eq!(resolver.lookup("w.a", ONLY_V4).await, Err(LookupError::NoServer));
}

#[unikernel_rt::test]
async fn many_who_want_to_know_the_same_ask_once() {
    let (resolver, network) = resolver(|asked| vec![asked.response(0, "^ A 60 10.1.0.1").after(300)]);
    let lookups = (0..100).map(|_| resolver.lookup("w.a.", ONLY_V4));
    let results = join_all(lookups).await;
    assert!(results.into_iter().all(|result| shown(result) == "10.1.0.1"));
    assert_eq!(network.heard(), ["0 1 w.a A"]);
    assert_eq!(Instant::now(), Instant::from_millis(300));
}

#[unikernel_rt::test]
async fn a_dropped_lookup_leaves_its_answer_to_the_next() {
    let (resolver, network) = resolver(|asked| vec![asked.response(0, "^ A 60 10.1.0.1").after(300)]);
    let first = timeout(Duration::from_millis(100), resolver.lookup("w.a.", ONLY_V4));
    let second = async {
        sleep(Duration::from_millis(200)).await;
        shown(resolver.lookup("w.a.", ONLY_V4).await)
    };
    let (first, second) = join(first, second).await;
    assert_eq!((first.is_err(), second.as_str()), (true, "10.1.0.1"));
    assert_eq!(network.heard(), ["0 1 w.a A"]);
}

#[unikernel_rt::test]
async fn at_most_64_questions_are_under_way() {
    let (resolver, network) = resolver(|asked| vec![asked.response(0, "^ A 60 10.1.0.1").after(300)]);
    let names: Vec<String> = (0..100).map(|index| format!("n{index}.")).collect();
    join_all(names.iter().map(|name| resolver.lookup(name, ONLY_V4))).await;
    let heard = network.heard();
    assert_eq!(heard.iter().filter(|text| text.starts_with("0 ")).count(), 64);
    assert_eq!(heard.iter().filter(|text| text.starts_with("300 ")).count(), 36);
}

#[unikernel_rt::test]
async fn ids_and_ports_are_fresh() {
    let (resolver, network) = resolver(|asked| vec![asked.response(NAME_ERROR, "")]);
    for _ in 0..100 {
        let _ = resolver.lookup("w.a.", ONLY_V4).await;
    }
    let log = network.log.borrow();
    let (ids, ports): (BTreeSet<u16>, BTreeSet<u16>) = log.iter().map(|asked| (asked.id, asked.port)).unzip();
    // 100 numbers out of 65,536 or 16,384 are different but for one pair at most, nearly always.
    assert!(ids.len() > 97 && ports.len() > 95, "{} {}", ids.len(), ports.len());
}
