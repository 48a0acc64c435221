//! What a server counts, and the routers for metrics and health.
#![allow(missing_docs)]

mod common;

use common::{answers, block_on, exchange_with};
use std::{cell::Cell, rc::Rc};
use unikernel_http::{Health, Path, Router, Server, Status, get, metrics, post};
use unikernel_rt::{
    lifecycle,
    metrics::text,
    time::{Duration, sleep},
};

fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// Asks for each path on a connection of its own.
async fn ask(server: &Server, paths: &[&str]) {
    for path in paths {
        exchange_with(server, request(path)).await;
    }
}

#[track_caller]
fn has(lines: &[&str]) {
    let text = text();
    for line in lines {
        assert!(text.lines().any(|other| other == *line), "no {line:?} in\n{text}");
    }
}

#[test]
fn requests_are_counted_by_route_and_status() {
    block_on(async {
        let inner = Router::new().route("/x", get(async || "x")).fallback(async || Status::GONE);
        let router = Router::new()
            .route("/number/{number}", get(async |Path(number): Path<u32>| number.to_string()))
            .route("/fails", get(async || Status::INTERNAL_SERVER_ERROR))
            .route("/post", post(async || "posted"))
            .nest("/inner", inner);
        let server = Server::new(router);
        ask(&server, &["/number/1", "/number/2", "/number/x", "/fails", "/nothing", "/other", "/post"]).await;
        ask(&server, &["/inner/x", "/inner/y", "/ HTTP/9.9"]).await;
        has(&[
            "unikernel_http_requests_total{route=\"/number/{number}\",status=\"2xx\"} 2",
            "unikernel_http_requests_total{route=\"/number/{number}\",status=\"4xx\"} 1",
            "unikernel_http_requests_total{route=\"/fails\",status=\"5xx\"} 1",
            "unikernel_http_requests_total{route=\"/post\",status=\"4xx\"} 1",
            "unikernel_http_requests_total{route=\"/inner/x\",status=\"2xx\"} 1",
            "unikernel_http_requests_total{route=\"/inner/{*}\",status=\"4xx\"} 1",
            "unikernel_http_requests_total{route=\"fallback\",status=\"4xx\"} 2",
            "unikernel_http_requests_total{route=\"invalid\",status=\"4xx\"} 1",
            "unikernel_http_request_duration_seconds_count{route=\"/number/{number}\"} 3",
            "unikernel_http_requests_in_flight 0",
            "unikernel_http_connections_total 10",
        ]);
        drop(server);
        assert!(!text().contains("unikernel_http"), "a server that is gone is on the page");
    });
}

#[test]
fn a_request_takes_its_time_and_is_in_flight_meanwhile() {
    block_on(async {
        let slow = async || {
            sleep(Duration::from_millis(100)).await;
            "at last"
        };
        let server = Server::new(Router::new().route("/slow", get(slow)));
        let asking = unikernel_rt::spawn({
            let server = server.clone();
            async move { exchange_with(&server, request("/slow")).await.len() }
        });
        sleep(Duration::from_millis(50)).await;
        has(&["unikernel_http_requests_in_flight 1"]);
        let len = asking.await.unwrap();
        has(&[
            "unikernel_http_requests_in_flight 0",
            "unikernel_http_request_duration_seconds_bucket{route=\"/slow\",le=\"0.065536\"} 0",
            "unikernel_http_request_duration_seconds_bucket{route=\"/slow\",le=\"0.131072\"} 1",
            "unikernel_http_request_duration_seconds_sum{route=\"/slow\"} 0.100000",
            &format!("unikernel_http_received_bytes_total {}", request("/slow").len()),
            &format!("unikernel_http_sent_bytes_total {len}"),
        ]);
    });
}

#[test]
fn the_metrics_are_a_page() {
    block_on(async {
        let bytes = exchange_with(&Server::new(metrics::router()), request("/metrics")).await;
        let answer = &answers(&bytes, &[])[0];
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/plain; version=0.0.4; charset=utf-8"))
        );
        assert!(answer.text().contains("\nunikernel_tasks{task=\"main\"} 1\n"), "{}", answer.text());
    });
}

#[test]
fn health_is_what_the_checks_say() {
    block_on(async {
        let (database, queue) = (Rc::new(Cell::new(true)), Rc::new(Cell::new(true)));
        let checks = (database.clone(), queue.clone());
        let health = Health::new().check("database", move || checks.0.get()).check("queue", move || checks.1.get());
        let server = Server::new(Router::new().route("/", get(async || "hello")).merge(health.router()));
        let states = [
            (true, true, 200, "ready\n"),
            (false, true, 503, "not ready: database\n"),
            (false, false, 503, "not ready: database\nnot ready: queue\n"),
        ];
        for (first, second, status, text) in states {
            database.set(first);
            queue.set(second);
            let bytes = exchange_with(&server, [request("/readyz"), request("/healthz")].concat()).await;
            let answers = answers(&bytes, &[]);
            assert_eq!((answers[0].status, &*answers[0].text()), (status, text));
            assert_eq!((answers[1].status, &*answers[1].text()), (200, "alive\n"));
        }
        database.set(true);
        queue.set(true);
        let busy = lifecycle::busy();
        lifecycle::request_stop();
        let bytes = exchange_with(&server, [request("/readyz"), request("/healthz")].concat()).await;
        let answers = answers(&bytes, &[]);
        assert_eq!((answers[0].status, &*answers[0].text()), (503, "not ready: stopping\n"));
        assert_eq!(answers[1].status, 200);
        drop(busy);
    });
}
