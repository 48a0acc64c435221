//! The app itself on a simulated cable, with a Redis that does what the test says.

use super::{
    address::Address,
    redis::{CONNECT_TIME_MAX, PAUSE_MAX, PAUSE_MIN, REPLY_TIME_MAX, spread},
    resp::{Malformed, Reply, parse, write_command},
};
use std::{cell::RefCell, rc::Rc};
use unikernel_net::{Config, Listener, Read, Stack, Stream, Write};
use unikernel_rt::{
    sim::{Faults, cable},
    spawn,
    time::{Duration, Instant, sleep},
};

const COMMAND: &[u8] = b"*2\r\n$4\r\nINCR\r\n$6\r\nvisits\r\n";

/// The machine that browsers and Redis are on; the app runs on another one.
fn start() -> Stack {
    let (left, right) = cable(Faults { delay: Duration::from_millis(1), ..Faults::NONE });
    let stack = |port, address: &str| Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()));
    let redis = Address { host: "10.0.0.1".into(), port: 6379 };
    let app = stack(right, "10.0.0.2/24");
    spawn(super::run(app, redis));
    stack(left, "10.0.0.1/24")
}

/// Status and body of `GET /`.
async fn visit(stack: &Stack) -> String {
    let mut stream = stack.connect("10.0.0.2:8080".parse().unwrap()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let len @ 1.. = stream.read(&mut piece).await.unwrap() {
        all.extend_from_slice(&piece[..len]);
    }
    let all = String::from_utf8(all).unwrap();
    format!("{} {}", &all[9..12], all.split_once("\r\n\r\n").unwrap().1.trim_end())
}

/// Takes the app's connection, and one command from it.
async fn take_command(listener: &mut Listener) -> Stream {
    let mut stream = listener.accept().await;
    let mut command = [0; COMMAND.len()];
    stream.read_exact(&mut command).await.unwrap();
    assert_eq!(command, COMMAND);
    stream
}

/// One visit while Redis sends these pieces to the first command, and then nothing.
async fn check(pieces: &[&str], expected: &str) {
    let stack = start();
    let mut listener = stack.listen(6379).unwrap();
    let pieces: Vec<String> = pieces.iter().map(ToString::to_string).collect();
    spawn(async move {
        let mut stream = take_command(&mut listener).await;
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(10)).await;
        }
        // Until the app gives up.
        let _ = stream.read(&mut [0]).await;
    });
    // The app connects meanwhile.
    sleep(Duration::from_millis(10)).await;
    assert_eq!(visit(&stack).await, expected);
}

#[unikernel_rt::test]
async fn a_count() {
    check(&[":7\r\n"], "200 visit 7").await;
}
#[unikernel_rt::test]
async fn a_count_in_pieces() {
    check(&[":", "1", "2\r", "\n"], "200 visit 12").await;
}
#[unikernel_rt::test]
async fn an_error_of_redis() {
    check(&["-LOADING still\r\n"], "503 not counted: Redis says: LOADING still").await;
}
#[unikernel_rt::test]
async fn a_reply_of_another_kind() {
    check(&["+OK\r\n"], "503 not counted: Redis answers INCR with Simple(\"OK\")").await;
    check(&["$-1\r\n"], "503 not counted: Redis answers INCR with Nil").await;
    check(&["$2\r\n\r\n\r\n"], "503 not counted: Redis answers INCR with Bulk([13, 10])").await;
}
#[unikernel_rt::test]
async fn nonsense() {
    let away = |what: &str| format!("503 not counted: Redis at 10.0.0.1:6379 is away: it sent {what}");
    check(&["HTTP/1.1 200 OK\r\n\r\n"], &away("a reply of a kind that was not asked for")).await;
    check(&[":12x\r\n"], &away("something else where a number belongs")).await;
    check(&[":9223372036854775808\r\n"], &away("something else where a number belongs")).await;
    check(&["*1\r\n:1\r\n"], &away("a reply of a kind that was not asked for")).await;
    check(&["$99999999999\r\n"], &away("a string of impossible length")).await;
    check(&[":", &"1".repeat(5000)], &away("a line without end")).await;
}
#[unikernel_rt::test]
async fn silence() {
    let began = Instant::now();
    check(&[], "503 not counted: Redis at 10.0.0.1:6379 is away: no reply within 1s").await;
    assert!(began.elapsed() >= REPLY_TIME_MAX && began.elapsed() < REPLY_TIME_MAX + Duration::from_millis(50));
}
#[unikernel_rt::test]
async fn half_a_reply() {
    check(&[":1"], "503 not counted: Redis at 10.0.0.1:6379 is away: no reply within 1s").await;
}

#[unikernel_rt::test]
async fn a_close_fails_what_waits_at_once() {
    let stack = start();
    let mut listener = stack.listen(6379).unwrap();
    spawn(async move { drop(take_command(&mut listener).await) });
    sleep(Duration::from_millis(10)).await;
    let closed = "503 not counted: Redis at 10.0.0.1:6379 is away: it closed the connection";
    assert_eq!(visit(&stack).await, closed);
    assert!(Instant::now() < Instant::from_millis(50));
}

#[unikernel_rt::test]
async fn a_reply_nobody_asked_for_ends_the_connection() {
    let stack = start();
    let mut listener = stack.listen(6379).unwrap();
    let mut stream = listener.accept().await;
    stream.write_all(b":1\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0]).await, Ok(0));
    let away = "503 not counted: Redis at 10.0.0.1:6379 is away: it sent a reply that nobody asked for";
    assert_eq!(visit(&stack).await, away);
}

#[unikernel_rt::test]
async fn commands_do_not_wait_for_replies() {
    const VISITORS: usize = 50;
    let stack = start();
    let mut listener = stack.listen(6379).unwrap();
    let answers = Rc::new(RefCell::new(Vec::new()));
    let mut redis = listener.accept().await;
    // Fewer packets than visitors may wait until the machine's hardware address is known, so it is asked for first.
    drop(stack.connect("10.0.0.2:8080".parse().unwrap()).await.unwrap());
    for _ in 0..VISITORS {
        let (stack, answers) = (stack.clone(), answers.clone());
        spawn(async move {
            let answer = visit(&stack).await;
            answers.borrow_mut().push(answer);
        });
    }
    // All of them come before the first reply goes.
    let mut commands = vec![0; COMMAND.len() * VISITORS];
    redis.read_exact(&mut commands).await.unwrap();
    assert_eq!(commands, COMMAND.repeat(VISITORS));
    let replies: String = (1..=VISITORS).map(|count| format!(":{count}\r\n")).collect();
    redis.write_all(replies.as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let mut answers = answers.take();
    answers.sort_by_key(|answer| answer.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
    let expected: Vec<_> = (1..=VISITORS).map(|count| format!("200 visit {count}")).collect();
    assert_eq!(answers, expected);
}

#[unikernel_rt::test]
async fn a_restarted_redis_is_found_again() {
    let stack = start();
    let mut listener = stack.listen(6379).unwrap();
    drop(listener.accept().await);
    drop(listener);
    sleep(Duration::from_secs(60)).await;
    let refused = "503 not counted: Redis at 10.0.0.1:6379 is away: connection refused: nobody listens on that port";
    assert_eq!(visit(&stack).await, refused);
    let mut listener = stack.listen(6379).unwrap();
    let back = Instant::now();
    let mut stream = listener.accept().await;
    assert!(back.elapsed() <= PAUSE_MAX + Duration::from_millis(10), "{:?}", back.elapsed());
    spawn(async move {
        stream.read_exact(&mut [0; COMMAND.len()]).await.unwrap();
        stream.write_all(b":8\r\n").await.unwrap();
        let _ = stream.read(&mut [0]).await;
    });
    sleep(Duration::from_millis(10)).await;
    assert_eq!(visit(&stack).await, "200 visit 8");
}

#[unikernel_rt::test]
async fn pauses_grow_while_redis_only_accepts() {
    let stack = start();
    let mut listener = stack.listen(6379).unwrap();
    let mut times = Vec::new();
    for _ in 0..8 {
        drop(listener.accept().await);
        times.push(Instant::now());
    }
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, doubled) in pauses.iter().zip([1, 2, 4, 8, 16, 32, 64]) {
        let longest = (PAUSE_MIN * doubled).min(PAUSE_MAX);
        assert!(*pause >= longest / 2 && *pause <= longest + Duration::from_millis(10), "{pauses:?}");
    }
}

#[unikernel_rt::test]
async fn before_the_first_connection_visitors_do_not_wait() {
    let stack = start();
    let answer = visit(&stack).await;
    assert!(answer.starts_with("503 not counted: "), "{answer}");
    assert!(Instant::now() < Instant::from_millis(0) + CONNECT_TIME_MAX);
}

#[test]
fn a_pause_is_spread_over_its_second_half() {
    let pause = Duration::from_micros(100);
    let ends = [0, 50, 51, u64::MAX].map(|random| spread(pause, random).as_micros());
    assert_eq!(ends, [50, 100, 50, 50 + (u64::MAX % 51) as u128]);
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("10.0.2.2:6379", Some("10.0.2.2:6379")),
        ("redis.lan:1", Some("redis.lan:1")),
        ("[fd00::1]:65535", Some("[fd00::1]:65535")),
        ("fd00::1:6379", None),
        ("redis", None),
        (":6379", None),
        ("[]:6379", None),
        ("a:0", None),
        ("a:65536", None),
    ] {
        let parsed = text.parse::<Address>().ok().map(|address| address.to_string());
        assert_eq!(parsed.as_deref(), expected, "{text}");
    }
}

#[test]
fn commands_are_arrays_of_strings() {
    let mut bytes = Vec::new();
    write_command(&mut bytes, &[b"INCR", b"visits"]);
    write_command(&mut bytes, &[b"GET", b""]);
    assert_eq!(bytes, [COMMAND, b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n"].concat());
}

/// The first byte that makes a whole reply of it is the last one.
#[test]
fn replies_are_whole_with_their_last_byte() {
    for (text, reply) in [
        (":-5\r\n", Reply::Integer(-5)),
        ("$5\r\na\r\nbc\r\n", Reply::Bulk(b"a\r\nbc".to_vec())),
        ("$-1\r\n", Reply::Nil),
        ("-ERR no\r\n", Reply::Error("ERR no".into())),
        ("+\r\n", Reply::Simple(String::new())),
    ] {
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{text:?} to {end}");
        }
        let more = [text, "rest"].concat();
        assert_eq!(parse(more.as_bytes()), Ok(Some((reply, text.len()))), "{text:?}");
    }
    assert_eq!(parse(b"$1\r\nabc"), Err(Malformed("a string that is longer than it says")));
    assert_eq!(parse(b"\r\n"), Err(Malformed("an empty line")));
}
