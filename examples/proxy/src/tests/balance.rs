//! Whose turn it is.

use super::{Balance, backend, client, get, start};
use crate::backends::Backends;
use std::rc::Rc;
use unikernel_http::{Request, Router, any};
use unikernel_rt::time::{Duration, sleep};

/// A backend that says its name, after ten seconds for `/slow`.
fn named(name: &'static str) -> Router {
    Router::new().fallback(move |request: Request| async move {
        if request.path() == "/slow" {
            sleep(Duration::from_secs(10)).await;
        }
        name
    })
}

#[unikernel_rt::test]
async fn backends_take_turns() {
    let stack = start(Balance::RoundRobin);
    backend(&stack, 8001, named("one"));
    backend(&stack, 8002, named("two"));
    let client = client(&stack);
    for expected in ["200 one", "200 two", "200 one", "200 two"] {
        assert_eq!(get(&client, "/").await, expected);
    }
}

#[unikernel_rt::test]
async fn the_one_with_less_to_do_is_asked() {
    let stack = start(Balance::LeastConnections);
    backend(&stack, 8001, named("one"));
    backend(&stack, 8002, named("two"));
    let client = client(&stack);
    let slow = unikernel_rt::spawn({
        let client = client.clone();
        async move { get(&client, "/slow").await }
    });
    sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(get(&client, "/").await, "200 two");
    }
    assert_eq!(slow.await.unwrap(), "200 one");
    assert_eq!(get(&client, "/").await, "200 one", "they are equal again, and it was the other's turn last");
}

/// Requests in flight and health of three backends ("2" up with two requests, "x" down), and who is chosen next, four
/// times.
#[track_caller]
fn check(balance: Balance, states: [&str; 3], except: Option<usize>, expected: &str) {
    let addresses = [1, 2, 3].map(|port| ([10, 0, 0, 1], port).into());
    let backends = Backends::new(&addresses, balance);
    let mut busy = Vec::new();
    for (backend, state) in backends.iter().zip(states) {
        match state {
            "x" => (0..3).for_each(|_| backend.note(&Err("down"))),
            count => busy.extend((0..count.parse().unwrap()).map(|_| backend.begin())),
        }
    }
    let except = except.map(|index| backends.iter().nth(index).unwrap().clone());
    let chosen = (0..4).map(|_| match backends.choose(except.as_ref()) {
        Some(backend) => char::from(b'0' + backend.address.port() as u8),
        None => '-',
    });
    assert_eq!(chosen.collect::<String>(), expected, "{states:?}");
    assert!(except.is_none_or(|except| Rc::strong_count(&except) > 1));
}

#[unikernel_rt::test]
async fn choices() {
    use Balance::{LeastConnections, RoundRobin};
    check(RoundRobin, ["0", "0", "0"], None, "1231");
    check(RoundRobin, ["9", "0", "x"], None, "1212");
    check(RoundRobin, ["x", "x", "0"], None, "3333");
    check(RoundRobin, ["x", "x", "x"], None, "----");
    check(RoundRobin, ["0", "0", "0"], Some(1), "1313");
    check(RoundRobin, ["x", "0", "x"], Some(1), "----");
    check(LeastConnections, ["2", "1", "1"], None, "2323");
    check(LeastConnections, ["0", "x", "1"], None, "1111");
    check(LeastConnections, ["0", "5", "9"], Some(0), "2222");
}

#[unikernel_rt::test]
async fn a_backend_that_comes_up_later_is_found() {
    let stack = start(Balance::RoundRobin);
    let client = client(&stack);
    let _one = backend(&stack, 8001, named("one"));
    sleep(Duration::from_secs(10)).await;
    assert_eq!([get(&client, "/").await, get(&client, "/").await], ["200 one", "200 one"]);
    let _two = backend(&stack, 8002, Router::new().route("/health", any(async || ())).fallback(async || "two"));
    sleep(Duration::from_secs(10)).await;
    let mut both = [get(&client, "/").await, get(&client, "/").await];
    both.sort();
    assert_eq!(both, ["200 one", "200 two"]);
}
