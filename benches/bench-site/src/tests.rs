//! The app itself, on a simulated cable, with a client.

use unikernel_net::{Config, Read, Stack, Write};
use unikernel_rt::sim::{Faults, SimPort, cable};
use unikernel_tls::{Roots, TlsConnector};

fn stack(port: SimPort, address: &str) -> Stack {
    Stack::new(Box::new(port), Config::fixed(address.parse().unwrap()))
}

/// Starts the app; what it answers to each request, without the date.
async fn answers(requests: &[&str]) -> Vec<String> {
    let (left, right) = cable(Faults::NONE);
    let client = stack(left, "10.0.0.1/24");
    unikernel_rt::spawn(super::main(stack(right, "10.0.0.2/24")));
    let mut answers = Vec::new();
    for request in requests {
        let mut stream = client.connect("10.0.0.2:80".parse().unwrap()).await.unwrap();
        let (line, rest) = request.split_once("\r\n").unwrap_or((request, "\r\n"));
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let (mut all, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut piece).await.unwrap() {
                0 => break,
                len => all.extend_from_slice(&piece[..len]),
            }
        }
        answers.push(String::from_utf8_lossy(&all).into_owned());
    }
    answers
}

#[unikernel_rt::test]
async fn the_sizes_that_the_benchmark_relies_on() {
    for (path, length) in [("/hello", 13), ("/", 600), ("/100k.bin", 102_400), ("/10m.bin", 10_485_760)] {
        let answer = &answers(&[&format!("HEAD {path}")]).await[0];
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(answer.contains(&format!("Content-Length: {length}\r\n")), "{path}: {answer}");
    }
    let answer = &answers(&["GET /hello"]).await[0];
    assert!(answer.contains("Content-Type: text/plain") && answer.ends_with("\r\n\r\nHello, World!"), "{answer}");
}

/// Over TLS it is the same, connections are resumed, and they end with a word.
#[unikernel_rt::test]
async fn the_same_over_tls() {
    let (left, right) = cable(Faults::NONE);
    let client = stack(left, "10.0.0.1/24");
    unikernel_rt::spawn(super::main(stack(right, "10.0.0.2/24")));
    let connector = TlsConnector::builder(Roots::from_pem(super::CERTIFICATE).unwrap());
    let connector = connector.alpn(&["http/1.1"]).build().unwrap();
    for (path, length) in [("/hello", 13), ("/100k.bin", 102_400), ("/hello", 13)] {
        let stream = client.connect("10.0.0.2:443".parse().unwrap()).await.unwrap();
        let mut stream = connector.connect("bench-site", stream).await.unwrap();
        assert_eq!(stream.info().alpn(), Some(&b"http/1.1"[..]));
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let (mut all, mut piece) = (Vec::new(), [0; 20_000]);
        while let len @ 1.. = stream.read(&mut piece).await.expect("it ends with close_notify") {
            all.extend_from_slice(&piece[..len]);
        }
        let head = all.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(all.len() - head, length, "{path}");
    }
}

#[test]
fn a_checksum_does_not_depend_on_the_pieces() {
    let body: Vec<u8> = (0..10_000u32).map(|index| ((index * index) >> 7) as u8).collect();
    let of = |piece_len| {
        let mut received = super::Received::default();
        body.chunks(piece_len).for_each(|piece| received.take(piece));
        received
    };
    for piece_len in [1, 2, 250, 251, 252, 1460, 9_999] {
        assert_eq!(of(piece_len), of(body.len()), "{piece_len}");
    }
    let mut another = super::Received::default();
    another.take(&[&body[1460..2920], &body[..1460], &body[2920..]].concat());
    assert_ne!(another.sum(), of(body.len()).sum(), "pieces that changed places");
}

#[unikernel_rt::test]
async fn a_body_that_is_sent_is_counted() {
    let body = "0123456789".repeat(1_000);
    let mut received = super::Received::default();
    received.take(body.as_bytes());
    let want = format!("\r\n\r\n{} {:016x}\n", body.len(), received.sum());
    let answer = &answers(&[&format!("POST /upload\r\nContent-Length: {}\r\n\r\n{body}", body.len())]).await[0];
    assert!(answer.ends_with(&want), "{answer} is not {want}");
}
