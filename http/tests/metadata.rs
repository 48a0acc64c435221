//! Metadata services that do as they should, and others. All in virtual time.
#![allow(missing_docs)]

mod common;

use common::{Wire, wires};
use embedded_io_async::Read;
use std::{cell::RefCell, rc::Rc};
use unikernel_http::{
    Metadata,
    client::{Connect, ConnectError, Target},
};
use unikernel_rt::{
    Acquire, Config, Machine, Result, spawn,
    time::{Duration, Instant, sleep},
};

const TOKEN: &str = "AQAAAKx-TheToken==";

/// How a service is wrong, if it is.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    /// Nobody is there.
    Absent,
    /// It takes connections and says nothing.
    Silent,
    /// It ends the connection before it answers.
    Closes,
    /// Answers every `PUT` with this.
    Token(&'static str),
    /// Answers every `GET` with this.
    Text(&'static str),
    /// Takes the token the second time only.
    Forgets,
    /// Sends so many bytes of user data.
    Long(usize),
    /// Sends a byte of its answer every second.
    Slow,
}

/// A fake service. It answers 401 without its token, 400 without the lifetime, 405 to what it does not know.
#[derive(Clone)]
struct Service {
    prefix: &'static str,
    text: String,
    fault: Fault,
    /// What it was asked.
    requests: Rc<RefCell<Vec<String>>>,
}

impl Connect for Service {
    type Stream = Wire;

    async fn connect(&self, target: &Target) -> Result<Wire, ConnectError> {
        assert_eq!((&*target.host, target.port), ("169.254.169.254", 80));
        if self.fault == Fault::Absent {
            std::future::pending::<()>().await;
        }
        let (ours, theirs) = wires(256 * 1024);
        spawn(self.clone().serve(theirs));
        Ok(ours)
    }
}

impl Service {
    fn new(prefix: &'static str, text: &str, fault: Fault) -> Service {
        Service { prefix, text: text.into(), fault, requests: Rc::default() }
    }

    async fn serve(self, mut wire: Wire) {
        while let Some(head) = head(&mut wire).await {
            self.requests.borrow_mut().push(head.lines().next().unwrap_or_default().into());
            let answer = self.answer(&head);
            match self.fault {
                Fault::Silent => std::future::pending().await,
                Fault::Closes => return,
                Fault::Slow => {
                    for byte in answer.bytes() {
                        sleep(Duration::from_secs(1)).await;
                        wire.send([byte]).await;
                    }
                }
                _ => wire.send(answer).await,
            }
        }
    }

    fn answer(&self, head: &str) -> String {
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(&format!("{}{name}", self.prefix))).map(|(_, value)| value)
        };
        let gets = self.requests.borrow().iter().filter(|line| line.starts_with("GET")).count();
        match (head.lines().next().unwrap_or_default(), self.fault) {
            ("PUT /latest/api/token HTTP/1.1", Fault::Token(answer)) => answer.into(),
            ("PUT /latest/api/token HTTP/1.1", _) => match field("metadata-token-ttl-seconds") {
                Some("60") => ok(TOKEN),
                _ => status("400 Bad Request"),
            },
            ("GET /latest/user-data HTTP/1.1", Fault::Text(answer)) => answer.into(),
            ("GET /latest/user-data HTTP/1.1", Fault::Forgets) if gets < 2 => status("401 Unauthorized"),
            ("GET /latest/user-data HTTP/1.1", fault) => match (field("metadata-token"), fault) {
                (Some(TOKEN), Fault::Long(len)) => ok(&"#".repeat(len)),
                (Some(TOKEN), _) => ok(&self.text),
                _ => status("401 Unauthorized"),
            },
            _ => status("405 Method Not Allowed"),
        }
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn status(line: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n")
}

async fn head(wire: &mut Wire) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if wire.read(&mut byte).await.unwrap() == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// Boots with `metadata=`, asks, and gives the variable `A`, or the error.
async fn load(service: Service) -> Result<String, String> {
    let mut machine = Machine::new();
    let metadata = Metadata::acquire(&mut machine).await.unwrap();
    let config = Config::acquire(&mut machine).await.unwrap();
    let loaded = metadata.load_through(service, std::future::ready(())).await.map_err(|error| error.to_string());
    let value = config.env::<String>("A").unwrap();
    config.finish().unwrap();
    loaded.map(|()| value.unwrap_or("nothing".into()))
}

const AWS: &str = "X-aws-ec2-";
const MMDS: &str = "X-";

#[unikernel_rt::test(args = "metadata=aws")]
async fn ec2_is_asked_for_a_token_and_then_with_it() {
    let service = Service::new(AWS, "env.A=\"of the cloud\"\n", Fault::None);
    let requests = service.requests.clone();
    assert_eq!(load(service).await.as_deref(), Ok("of the cloud"));
    let expected = ["PUT /latest/api/token HTTP/1.1", "GET /latest/user-data HTTP/1.1"];
    assert_eq!(*requests.borrow(), expected);
}

#[unikernel_rt::test(args = "metadata=mmds env.A=line")]
async fn firecracker_is_asked_and_the_command_line_wins() {
    assert_eq!(load(Service::new(MMDS, "env.A=1", Fault::None)).await.as_deref(), Ok("line"));
}

#[unikernel_rt::test(args = "metadata=mmds")]
async fn each_service_has_header_fields_of_its_own() {
    let error = load(Service::new(AWS, "env.A=1", Fault::None)).await.unwrap_err();
    assert_eq!(error, "boot argument `metadata=mmds`: 169.254.169.254 gave no token: it answered 400");
}

#[unikernel_rt::test]
async fn nobody_is_asked_unless_told() {
    let service = Service::new(AWS, "env.A=1", Fault::Absent);
    assert_eq!(load(service.clone()).await.as_deref(), Ok("nothing"));
    assert!(service.requests.borrow().is_empty() && Instant::now() == Instant::from_micros(0));
}

#[unikernel_rt::test(args = "metadata=azure")]
async fn other_services_are_refused() {
    let error = Metadata::acquire(&mut Machine::new()).await.unwrap_err().to_string();
    assert_eq!(error, "boot argument `metadata=azure`: expected aws, mmds or off");
}

async fn check(fault: Fault, expected: Result<&str, &str>) {
    let found = load(Service::new(AWS, "env.A=1", fault)).await;
    match (&found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{fault:?}"),
        (Err(error), Err(part)) => assert!(error.contains(part) && !error.contains(TOKEN), "{fault:?}: {error}"),
        _ => panic!("{fault:?}: {found:?}"),
    }
    assert!(Instant::now() <= Instant::from_micros(10_000_000), "{fault:?}");
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn without_user_data_there_is_nothing() {
    check(Fault::Text("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"), Ok("nothing")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn a_token_that_was_forgotten_is_asked_for_again_once() {
    check(Fault::Forgets, Ok("1")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn tokens_that_are_not_taken_end_it() {
    check(
        Fault::Text("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
        Err("it does not take its own token (401)"),
    )
    .await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn a_service_that_is_turned_off_says_so() {
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    check(Fault::Token(refused), Err("gave no token: it is turned off for this machine (403)")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn an_absent_service_costs_ten_seconds() {
    check(Fault::Absent, Err("169.254.169.254 does not answer")).await;
    assert_eq!(Instant::now(), Instant::from_micros(10_000_000));
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn a_silent_service_costs_ten_seconds() {
    check(Fault::Silent, Err("169.254.169.254")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn a_slow_service_costs_ten_seconds() {
    check(Fault::Slow, Err("169.254.169.254")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn one_that_closes_is_named() {
    check(Fault::Closes, Err("gave no token: the server closed the connection")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn redirects_are_not_followed() {
    let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/latest/user-data\r\nContent-Length: 0\r\n\r\n";
    check(Fault::Token(elsewhere), Err("gave no token: it answered 302")).await;
    check(Fault::Text(elsewhere), Err("gave no user data: it answered 302")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn garbage_is_refused() {
    check(Fault::Token("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Err("gave no token: this is no HTTP/1.1 response")).await;
    check(Fault::Token("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Err("gave a token that is none")).await;
    check(Fault::Token("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na\r\nb:"), Err("gave a token that is none")).await;
    check(Fault::Token("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\u{e9}"), Err("gave a token that is none")).await;
    check(
        Fault::Text("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"),
        Err("in the metadata service is wrong in line 1"),
    )
    .await;
    check(Fault::Text("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), Err("gave no user data: it answered 500")).await;
}

#[unikernel_rt::test(args = "metadata=aws")]
async fn more_than_may_be_is_refused() {
    check(Fault::Long(65_536), Ok("nothing")).await;
    check(Fault::Long(65_537), Err("the configuration in the metadata service is longer than 64 KiB")).await;
    check(Fault::Long(65_538), Err("gave no user data")).await;
    check(Fault::Text("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"), Err("gave no user data"))
        .await;
}
