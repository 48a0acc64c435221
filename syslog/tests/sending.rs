//! Lines on their way to a collector over UDP and TCP: one that is there, slow, gone, and back.

mod common;

use common::{Received, collect_streams, rfc5424::parse, seconds, stacks, to};
use std::{cell::OnceCell, collections::BTreeSet, rc::Rc};
use unikernel_net::Stack;
use unikernel_rt::{
    lifecycle,
    log::{
        debug, error, info,
        tail::{Level, Tail},
        trace, warn,
    },
    task::yield_now,
    time::{Duration, Instant, set_unix_time, sleep},
};
use unikernel_syslog::{Element, Facility, Sink};

const ME: &str = "sending";

/// Collects datagrams; each is a message.
fn collect_datagrams(stack: &Stack, port: u16) -> Received {
    let received = Received::default();
    let (socket, into) = (stack.udp(port).unwrap(), received.clone());
    unikernel_rt::spawn(async move {
        let mut buffer = [0; 2000];
        loop {
            let datagram = socket.recv_from(&mut buffer).await;
            into.push(parse(&buffer[..datagram.len]).unwrap());
        }
    });
    received
}

#[unikernel_rt::test(args = "syslog=udp:10.0.0.2 hostname=web1")]
async fn the_boot_argument_is_enough() {
    let (machine, collector) = stacks();
    let received = collect_datagrams(&collector, 514);
    unikernel_syslog::start(&machine).unwrap();
    info!("{} items", 3);
    received.has("3 items").await;
    let message = received.all().into_iter().find(|message| message.msg_id.as_deref() == Some(ME)).unwrap();
    assert_eq!((message.pri, message.hostname.as_deref(), message.app_name), (30, Some("web1"), None));
    assert_eq!(message.time.as_deref(), Some("2026-01-01T00:00:00.000000Z"));
}

#[unikernel_rt::test]
async fn without_the_boot_argument_nothing_is_sent() {
    let (machine, collector) = stacks();
    let received = collect_datagrams(&collector, 514);
    let sink = unikernel_syslog::start(&machine).unwrap();
    info!("to the console");
    seconds(10).await;
    assert_eq!((received.all(), sink.stats()), (vec![], Default::default()));
}

#[unikernel_rt::test(args = "syslog=udp:logs:x")]
async fn a_wrong_boot_argument_is_explained() {
    let error = unikernel_syslog::start(&stacks().0).unwrap_err().to_string();
    assert!(
        error.starts_with("boot argument `syslog=udp:logs:x`: the port is no port; write udp:HOST:PORT"),
        "{error}"
    );
}

#[unikernel_rt::test(args = "syslog=tls:10.0.0.2")]
async fn tls_without_roots_is_refused() {
    let error = unikernel_syslog::start(&stacks().0).unwrap_err().to_string();
    assert!(error.contains("give `Syslog::tls` a connector"), "{error}");
}

#[unikernel_rt::test]
async fn datagrams_carry_all_that_is_known() {
    let (machine, collector) = stacks();
    let received = collect_datagrams(&collector, 5140);
    let place = Element::new("place@32473").with("room", "\"7\"");
    to("udp", 5140).facility(Facility::Local2).with(place).level(Level::Debug).start(&machine).unwrap();
    seconds(1).await;
    error!("an error");
    warn!("two\nlines");
    info!("{}", "x".repeat(5000));
    debug!("details");
    trace!("too much");
    set_unix_time(Duration::ZERO);
    info!("no date");
    received.has("no date").await;
    let mine: Vec<_> = received.all().into_iter().filter(|message| message.msg_id.as_deref() == Some(ME)).collect();
    let pris: Vec<u8> = mine.iter().map(|message| message.pri).collect();
    assert_eq!(pris, [3, 4, 6, 7, 6].map(|severity| 18 * 8 + severity));
    let texts: Vec<&str> = mine.iter().map(|message| &*message.text).collect();
    assert_eq!((texts[0], texts[1], texts[3]), ("an error", "two\\nlines", "details"));
    assert!((900..1180).contains(&texts[2].len()) && texts[2].chars().all(|c| c == 'x'), "{}", texts[2].len());
    for message in &mine {
        assert_eq!(message.hostname.as_deref(), Some("10.0.0.1"));
        assert_eq!((message.app_name.as_deref(), &message.proc_id), (Some("shop"), &None));
        assert_eq!(message.param("place@32473", "room"), Some("\"7\""));
        assert_eq!(message.param("meta", "sysUpTime"), Some("100"));
    }
    assert_eq!(mine.last().unwrap().time, None);
}

#[unikernel_rt::test]
async fn a_connection_carries_every_line_once_and_in_order() {
    let (machine, collector) = stacks();
    let (received, _task) = collect_streams(collector.listen(601).unwrap());
    let sink = to("tcp", 601).start(&machine).unwrap();
    for number in 0..2000 {
        info!("line {} {}", number, "é".repeat(number % 50));
        // No more at once than the log and the buffer hold.
        if number % 50 == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    info!("the last");
    received.has("the last").await;
    let texts = received.texts(ME);
    let expected = (0..2000).map(|number| format!("line {number} {}", "é".repeat(number % 50)));
    assert_eq!(texts, expected.chain(["the last".into()]).collect::<Vec<_>>());
    let numbers: Vec<u64> = received.all().iter().map(|message| message.sequence()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert_eq!((sink.stats().sent, sink.stats().lost), (numbers.len() as u64, 0));
}

#[unikernel_rt::test]
async fn a_burst_that_the_log_cannot_hold_is_counted() {
    let (machine, collector) = stacks();
    let (received, _task) = collect_streams(collector.listen(601).unwrap());
    let sink = to("tcp", 601).start(&machine).unwrap();
    seconds(1).await;
    (0..2000).for_each(|number| info!("line {}", number));
    received.has("log lines were lost").await;
    let lost = 2000 - received.texts(ME).len() as u64;
    assert!((1000..2000).contains(&lost), "{lost}");
    assert_eq!(sink.stats().lost, lost);
    received.has(&format!("syslog: {lost} log lines were lost")).await;
    // The collector sees the gap by itself.
    let last = received.all().last().unwrap().sequence();
    assert_eq!(last, received.all().len() as u64 + lost);
}

#[unikernel_rt::test]
async fn a_collector_that_reads_nothing_loses_the_oldest_lines_only() {
    let (machine, collector) = stacks();
    let mut listener = collector.listen(601).unwrap();
    let sink = to("tcp", 601).buffer_len(20_000).start(&machine).unwrap();
    let stream = listener.accept().await;
    let total = 60_000;
    for number in 0..total {
        info!("line {}", number);
        yield_now().await;
    }
    assert!(sink.stats().lost > 1000, "the buffers on the way do not take all: {:?}", sink.stats());
    let received = Received::default();
    let into = received.clone();
    unikernel_rt::spawn(async move { common::read_frames(stream, &into).await });
    received.has("log lines were lost").await;
    info!("the last");
    received.has("the last").await;
    let texts = received.texts(ME);
    assert_eq!(texts.len() as u64 + sink.stats().lost, total + 1);
    assert_eq!(&texts[texts.len() - 2..], [format!("line {}", total - 1), "the last".into()]);
}

#[unikernel_rt::test]
async fn a_collector_may_come_late() {
    let (machine, collector) = stacks();
    let sink = to("tcp", 601).start(&machine).unwrap();
    let mut tail = Tail::from_now();
    info!("before");
    seconds(3600).await;
    // One line of mine, one about the collector: an outage is told once.
    let logged = std::iter::from_fn(|| tail.read_record()).map(|record| record.message);
    let logged: Vec<_> = logged.filter(|message| !message.starts_with("network")).collect();
    assert_eq!(logged.len(), 2, "{logged:#?}");
    assert_eq!(
        logged[1],
        "syslog: no way to tcp:10.0.0.2:601: connection refused: nobody listens on that port; log lines wait, and the \
         oldest give way"
    );
    let failures = sink.stats().failures;
    assert!((60..150).contains(&failures), "{failures} attempts in an hour");
    let (received, _task) = collect_streams(collector.listen(601).unwrap());
    seconds(60).await;
    assert_eq!(received.texts(ME), ["before"]);
    received.has("syslog: log lines reach tcp:10.0.0.2:601 again").await;
}

#[unikernel_rt::test]
async fn a_collector_may_go_and_come_back() {
    let (machine, collector) = stacks();
    to("tcp", 601).start(&machine).unwrap();
    let mut all = BTreeSet::new();
    for round in 0..5 {
        let (received, task) = collect_streams(collector.listen(601).unwrap());
        info!("round {}", round);
        received.has(&format!("round {round}")).await;
        all.extend(received.texts(ME));
        task.abort();
        seconds(5).await;
        info!("nobody hears round {}", round);
        seconds(5).await;
    }
    let (received, _task) = collect_streams(collector.listen(601).unwrap());
    received.has("nobody hears round 4").await;
    all.extend(received.texts(ME));
    let expected = (0..5).flat_map(|round| [format!("round {round}"), format!("nobody hears round {round}")]);
    let missing: Vec<_> = expected.filter(|text| !all.contains(text)).collect();
    // Those that nobody heard in earlier rounds came in the next, which `all` has.
    assert_eq!(missing, [] as [String; 0]);
}

#[unikernel_rt::test]
async fn a_connection_that_breaks_gives_back_what_it_did_not_take() {
    let (machine, collector) = stacks();
    let mut listener = collector.listen(601).unwrap();
    let sink = to("tcp", 601).buffer_len(16 << 20).start(&machine).unwrap();
    let stream = listener.accept().await;
    // More than the buffers on the way take.
    for number in 0..2_000 {
        info!("line {} {}", number, "x".repeat(1000));
        yield_now().await;
    }
    seconds(1).await;
    let sent = sink.stats().sent;
    assert!((10..1_900).contains(&sent), "{sent}");
    stream.abort();
    let (received, _task) = collect_streams(listener);
    seconds(10).await;
    info!("the last");
    received.has("the last").await;
    // The first that comes is the first that the old connection had not taken.
    assert_eq!(received.all()[0].sequence(), sent + 1);
    assert_eq!(sink.stats().lost, 0);
    assert_eq!(sent + received.all().len() as u64, received.all().last().unwrap().sequence());
}

#[unikernel_rt::test]
async fn a_sink_does_not_feed_itself() {
    let (machine, collector) = stacks();
    let received = collect_datagrams(&collector, 514);
    let sink = to("udp", 514).start(&machine).unwrap();
    info!("once");
    seconds(10).await;
    let sent = sink.stats().sent;
    seconds(3600).await;
    assert_eq!((sink.stats().sent, received.all().len() as u64), (sent, sent));
}

#[unikernel_rt::test]
async fn a_name_that_nobody_knows_keeps_lines_waiting() {
    let (machine, _collector) = stacks();
    let mut tail = Tail::from_now();
    let sink = unikernel_syslog::Syslog::to("udp:logs.test:514".parse().unwrap()).start(&machine).unwrap();
    (0..50).for_each(|number| info!("line {}", number));
    seconds(600).await;
    assert_eq!((sink.stats().sent, sink.stats().lost), (0, 0));
    let about =
        std::iter::from_fn(|| tail.read_record()).filter(|record| record.message.contains("no way to udp:logs.test"));
    assert_eq!(about.count(), 1);
}

/// A machine whose collector is in another network: no way, for ever.
#[unikernel_rt::test]
async fn a_collector_out_of_reach_is_told_once() {
    let (machine, _) = stacks();
    let sink = unikernel_syslog::Syslog::to("udp:192.0.2.1:514".parse().unwrap()).start(&machine).unwrap();
    info!("waits");
    seconds(100).await;
    assert!(sink.stats().failures > 3 && sink.stats().sent == 0, "{:?}", sink.stats());
}

/// Structured data alone is more than a datagram holds: lines come without it, and none holds up the others.
#[unikernel_rt::test]
async fn too_much_structured_data_stops_nothing() {
    let (machine, collector) = stacks();
    let received = collect_datagrams(&collector, 514);
    let data = Element::new("big@32473").with("k", "x".repeat(3000));
    let sink = to("udp", 514).with(data).start(&machine).unwrap();
    info!("first");
    info!("second");
    received.has("second").await;
    assert_eq!((received.texts(ME), sink.stats().lost), (vec!["first".into(), "second".into()], 0));
    assert!(received.all().iter().all(|message| message.param("big@32473", "k").is_none()));
}

/// What the sink has sent when the hooks of a stop are through, and how long they took, in milliseconds.
async fn sent_at_stop(machine: &Stack, transport: &str) -> (u64, u64) {
    let (sink, end) = (Rc::new(OnceCell::new()), Rc::new(OnceCell::new()));
    let (its, into) = (sink.clone(), end.clone());
    // The first one registered runs last.
    lifecycle::on_stop(move || async move {
        let sent = its.get().map(|sink: &Sink| sink.stats().sent);
        into.set((sent.unwrap(), Instant::now())).unwrap();
    });
    sink.set(to(transport, 601).start(machine).unwrap()).unwrap();
    seconds(5).await;
    let (before, begun) = (sink.get().unwrap().stats().sent, Instant::now());
    info!("the last");
    lifecycle::request_stop();
    seconds(9).await;
    let (sent, ended) = *end.get().unwrap();
    (sent - before, (ended - begun).as_millis() as u64)
}

#[unikernel_rt::test]
async fn a_stop_waits_for_the_last_lines() {
    let (machine, collector) = stacks();
    let received = collect_datagrams(&collector, 601);
    assert_eq!(sent_at_stop(&machine, "udp").await, (1, 0));
    assert_eq!(received.texts(ME), ["the last"]);
}

#[unikernel_rt::test]
async fn a_stop_does_not_wait_long_for_a_collector_that_is_gone() {
    let (machine, _collector) = stacks();
    assert_eq!(sent_at_stop(&machine, "tcp").await, (0, 1000));
}
