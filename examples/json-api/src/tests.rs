//! The app itself, on a simulated cable, with a client.

use unikernel_net::{Config, Read, Stack, Write};
use unikernel_rt::sim::{Faults, SimPort, cable};

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
        let mut stream = client.connect("10.0.0.2:8080".parse().unwrap()).await.unwrap();
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

fn put(id: u32, text: &str) -> String {
    let length = text.len();
    format!("PUT /notes/{id}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{text}")
}

#[unikernel_rt::test]
async fn notes_are_written_read_and_listed() {
    let (new, again, wrong) = (put(7, "\"milk\""), put(7, "\"tea\""), put(8, "5"));
    let requests = [
        "GET /notes/7",
        &new,
        "GET /notes/7",
        &again,
        "GET /notes",
        "DELETE /notes/7",
        &wrong,
        "GET /notes/x",
        "POST /notes",
    ];
    let expected = [
        ("404", "not found\n"),
        ("201", ""),
        ("200", "\"milk\""),
        ("204", ""),
        ("200", "{\"7\":\"tea\"}"),
        ("405", ""),
        ("422", "the body: invalid type: integer `5`, expected a string at line 1 column 1\n"),
        ("400", "\"x\" is not a valid u32\n"),
        ("405", ""),
    ];
    for (answer, (status, body)) in answers(&requests).await.iter().zip(expected) {
        assert_eq!((&answer[9..12], answer.split_once("\r\n\r\n").unwrap().1), (status, body));
    }
}
