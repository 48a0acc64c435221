//! Backends that are gone, silent or confused.

use super::{Balance, PROXY, backend, client, get, show, start};
use std::{cell::RefCell, rc::Rc};
use unikernel_http::{Body, Request, Router};
use unikernel_net::{Read, Stack, Write};
use unikernel_rt::{
    spawn,
    time::{Duration, Instant, sleep},
};

fn good(stack: &Stack, port: u16) {
    drop(backend(stack, port, Router::new().fallback(async || "good")));
}

/// A backend that answers health checks and says `answer` to everything else, and then `then`.
fn scripted(stack: &Stack, port: u16, answer: &'static str, seen: &Rc<RefCell<Vec<String>>>) {
    let mut listener = stack.listen(port).unwrap();
    let seen = seen.clone();
    spawn(async move {
        loop {
            let mut stream = listener.accept().await;
            let mut head = vec![0; 4096];
            let len = stream.read(&mut head).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&head[..len]).lines().next().unwrap_or("").to_owned();
            if line.starts_with("GET /health") {
                let _ = stream.write_all(b"HTTP/1.1 204 OK\r\nConnection: close\r\n\r\n").await;
                continue;
            }
            seen.borrow_mut().push(line);
            match answer {
                "silence" => drop(spawn(async move { stream.read(&mut [0]).await.map(|_| ()) })),
                answer => drop(stream.write_all(answer.as_bytes()).await),
            }
        }
    });
}

#[unikernel_rt::test]
async fn nobody_is_there() {
    let stack = start(Balance::RoundRobin);
    let client = client(&stack);
    let refused = get(&client, "/").await;
    assert_eq!(refused, "502 the backend: connection refused: nobody listens on that port\n");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(get(&client, "/").await, "503 no backend is up\n");
    good(&stack, 8001);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(get(&client, "/").await, "200 good");
}

#[unikernel_rt::test]
async fn a_request_that_nobody_saw_goes_to_another_backend() {
    let stack = start(Balance::RoundRobin);
    good(&stack, 8002);
    let client = client(&stack);
    // The first backend is asked first, and not known to be down yet; whose turn it is changes with every choice.
    assert_eq!(get(&client, "/").await, "200 good");
    let shown = show(client.post(&format!("{PROXY}/")).body("x").send().await.unwrap()).await;
    assert_eq!(shown, "502 the backend: connection refused: nobody listens on that port\n");
}

/// What the client gets, and which requests the backends saw.
#[track_caller]
fn check(method: &'static str, body: &'static str, answer: &'static str, expected: &'static str, requests: usize) {
    unikernel_rt::sim::run("", async move {
        let stack = start(Balance::RoundRobin);
        let seen = Rc::default();
        for port in [8001, 8002] {
            scripted(&stack, port, answer, &seen);
        }
        let request = client(&stack).request(method, &format!("{PROXY}/x")).body(Body::from(body));
        let shown = show(request.send().await.unwrap()).await;
        assert_eq!((&*shown, seen.borrow().len()), (expected, requests), "{method} {answer:?}");
    });
}

#[test]
fn what_is_sent_again_and_what_is_not() {
    let closed = "502 the backend: the server closed the connection before its response was complete\n";
    check("GET", "", "", closed, 2);
    check("DELETE", "", "", closed, 2);
    check("POST", "", "", closed, 1);
    check("PUT", "body", "", closed, 1);
    check("GET", "", "HTTP/1.1 200 OK\r\nContent-Le", closed, 2);
}

#[test]
fn confused_backends() {
    let confused = "502 the backend: this is no HTTP/1.1 response: there are two Content-Length fields\n";
    check("GET", "", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", confused, 1);
    let noise =
        "502 the backend: this is no HTTP/1.1 response: it does not start with `HTTP/1.1`, a space and a status code\n";
    check("GET", "", "SSH-2.0-x\r\n", noise, 1);
    check("GET", "", "HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nown", "500 own", 1);
}

#[unikernel_rt::test]
async fn a_silent_backend() {
    let stack = start(Balance::RoundRobin);
    let seen = Rc::default();
    scripted(&stack, 8001, "silence", &seen);
    scripted(&stack, 8002, "silence", &seen);
    let start = Instant::now();
    let shown = get(&client(&stack), "/").await;
    assert_eq!(shown, "504 the backend: timed out while waiting for the response\n");
    assert_eq!((start.elapsed().as_secs(), seen.borrow().len()), (60, 1));
}

/// Half a body must not look like a whole one.
#[unikernel_rt::test]
async fn a_backend_that_dies_in_the_middle() {
    let stack = start(Balance::RoundRobin);
    let seen = Rc::default();
    for port in [8001, 8002] {
        scripted(&stack, port, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", &seen);
    }
    let response = client(&stack).get(PROXY).send().await.unwrap();
    assert_eq!(response.status().code(), 200);
    assert!(response.bytes().await.is_err());
}

#[unikernel_rt::test]
async fn a_backend_that_is_not_well_is_left_alone() {
    let stack = start(Balance::RoundRobin);
    good(&stack, 8001);
    let sick = async |request: Request| match request.path() {
        "/health" => (unikernel_http::Status::SERVICE_UNAVAILABLE, "sick"),
        _ => (unikernel_http::Status::OK, "sick"),
    };
    drop(backend(&stack, 8002, Router::new().fallback(sick)));
    sleep(Duration::from_secs(10)).await;
    let client = client(&stack);
    for _ in 0..4 {
        assert_eq!(get(&client, "/").await, "200 good");
    }
}
