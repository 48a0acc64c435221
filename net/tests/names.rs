//! Names and time through whole stacks: a client asks a small DNS and time server over the cable.

mod common;
use common::*;
use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
};
use unikernel_net::{Addressing6, Config, ConnectError, Ipv6Cidr, LookupError, PortConfig, Read, Stack, Write};
use unikernel_rt::{
    sim::{Faults, cable},
    time::{Duration, Instant, sleep, unix_time},
};

const A: u16 = 1;
const AAAA: u16 = 28;
const DNS: u16 = 53;

/// What the server says about a name and type: addresses, too many for a datagram, or that there is no such name.
type Zone = fn(&str, u16) -> Option<Vec<IpAddr>>;

/// What the server was asked: `name type`, with `t` behind over TCP.
type Log = Rc<RefCell<Vec<String>>>;

fn answer(question: &[u8], zone: Zone, tcp: bool, log: &Log) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let name: String = question[13..end - 5].iter().map(|byte| if *byte < 32 { '.' } else { *byte as char }).collect();
    let kind = u16::from_be_bytes([question[end - 4], question[end - 3]]);
    log.borrow_mut().push(format!("{name} {kind}{}", if tcp { " t" } else { "" }));
    let found = zone(&name, kind);
    let code = if found.is_some() { 0 } else { 3 };
    let addresses = found.unwrap_or_default();
    let cut = !tcp && addresses.len() > 20;
    let count = if cut { 0 } else { addresses.len() as u8 };
    let mut answer = question[..end].to_vec();
    answer[2..12].copy_from_slice(&[0x81 | if cut { 2 } else { 0 }, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    for address in addresses.into_iter().take(count.into()) {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        answer.extend([0xc0, 12, 0, kind as u8, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        answer.extend(data);
    }
    answer
}

/// Serves `zone` over UDP and TCP.
fn serve_dns(stack: &Stack, zone: Zone) -> Log {
    let log = Log::default();
    let (socket, mut listener) = (stack.udp(DNS).unwrap(), stack.listen(DNS).unwrap());
    let (ours, theirs) = (log.clone(), log.clone());
    unikernel_rt::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let question = socket.recv_from(&mut buffer).await;
            let answer = answer(&buffer[..question.len], zone, false, &ours);
            let _ = socket.send_to(&answer, question.from).await;
        }
    });
    unikernel_rt::spawn(async move {
        loop {
            let mut stream = listener.accept().await;
            let (mut len, mut question) = ([0; 2], vec![0; 512]);
            stream.read_exact(&mut len).await.unwrap();
            question.truncate(u16::from_be_bytes(len).into());
            stream.read_exact(&mut question).await.unwrap();
            let answer = answer(&question, zone, true, &theirs);
            stream.write_all(&(answer.len() as u16).to_be_bytes()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    log
}

/// A network of both families.
fn both(config: Config, last: u16) -> Config {
    let address = Ipv6Cidr::new(format!("fd00::{last}").parse().unwrap(), 64).unwrap();
    let v6 = Addressing6::Static { address, gateway: None };
    Config { ports: vec![PortConfig { v6, ..config.port(0) }], ..config }
}

/// A client that knows the server as its DNS server, and the server, on a cable of 1 ms.
fn pair(faults: Faults) -> (Stack, Stack) {
    let (left, right) = cable(Faults { delay: Duration::from_millis(1), ..faults });
    let client = Config { dns: vec![SERVER.into()], search: vec!["lab".into()], ..both(fixed(CLIENT), 1) };
    (Stack::new(Box::new(left), client), Stack::new(Box::new(right), both(fixed(SERVER), 2)))
}

fn zone(name: &str, kind: u16) -> Option<Vec<IpAddr>> {
    let address = |text: &str| vec![text.parse().unwrap()];
    match (name, kind) {
        ("web.lab", A) => Some(address("10.0.0.2")),
        ("web.lab", AAAA) => Some(address("fd00::2")),
        // Nobody has the first address.
        ("half.dead", A) => Some(address("10.0.0.2")),
        ("half.dead", AAAA) => Some(address("fd00::99")),
        ("all.dead", A) => Some(vec!["10.0.0.98".parse().unwrap(), "10.0.0.99".parse().unwrap()]),
        ("many.lab", A) => Some((1..=100).map(|last| Ipv4Addr::new(10, 7, 0, last).into()).collect()),
        ("web.lab" | "half.dead" | "all.dead" | "many.lab", _) => Some(vec![]),
        _ => None,
    }
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[unikernel_rt::test]
async fn names_are_looked_up_over_the_cable() {
    let (client, server) = pair(Faults::NONE);
    let log = serve_dns(&server, zone);
    // Until nobody else has claimed its IPv6 address, a machine asks for IPv4 only.
    assert_eq!(client.lookup("web.lab.").await, Ok(addresses(&["10.0.0.2"])));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(client.lookup("web").await, Ok(addresses(&["fd00::2", "10.0.0.2"])));
    assert_eq!(client.lookup("WEB.lab.").await, Ok(addresses(&["fd00::2", "10.0.0.2"])));
    assert_eq!(log.borrow().len(), 2, "{log:?}");
    assert_eq!(client.lookup("no.such.name").await, Err(LookupError::NoSuchName));
    assert_eq!(client.lookup("10.9.9.9").await, Ok(addresses(&["10.9.9.9"])));
}

#[unikernel_rt::test]
async fn long_answers_come_over_tcp() {
    let (client, server) = pair(Faults::NONE);
    let log = serve_dns(&server, zone);
    let found = client.lookup("many").await.unwrap();
    assert_eq!((found.len(), found[31]), (32, Ipv4Addr::new(10, 7, 0, 32).into()));
    assert!(log.borrow().contains(&"many.lab 1 t".into()), "{log:?}");
    drop(found);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn lookups_survive_a_bad_network() {
    let faults = Faults { loss: 200, duplicate: 200, reorder: 200, seed: 5, ..Faults::NONE };
    let (client, server) = pair(faults);
    serve_dns(&server, zone);
    for _ in 0..50 {
        assert_eq!(client.lookup("web").await.map(|found| found.is_empty()), Ok(false));
        sleep(Duration::from_secs(61)).await;
    }
}

#[unikernel_rt::test]
async fn a_host_is_connected_to_by_name() {
    let (client, server) = pair(Faults::NONE);
    serve_dns(&server, zone);
    serve_echo(&server, 7);
    sleep(Duration::from_secs(3)).await;
    for (host, peer) in [("web", "[fd00::2]:7"), ("10.0.0.2", "10.0.0.2:7"), ("[fd00::2]", "[fd00::2]:7")] {
        let mut stream = client.connect_host(host, 7).await.unwrap();
        assert_eq!(stream.peer(), peer.parse::<SocketAddr>().unwrap(), "{host}");
        stream.write_all(b"hello").await.unwrap();
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hello");
    }
}

#[unikernel_rt::test]
async fn a_dead_address_costs_a_quarter_of_a_second() {
    let (client, server) = pair(Faults::NONE);
    serve_dns(&server, zone);
    serve_echo(&server, 7);
    sleep(Duration::from_secs(3)).await;
    client.lookup("half.dead").await.unwrap();
    let start = Instant::now();
    let stream = client.connect_host("half.dead", 7).await.unwrap();
    assert_eq!(stream.peer(), at(7));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(250) && took < Duration::from_millis(260), "{took:?}");
}

#[unikernel_rt::test]
async fn a_host_that_cannot_be_reached_says_why() {
    let (client, server) = pair(Faults::NONE);
    serve_dns(&server, zone);
    let error = async |host| client.connect_host(host, 9).await.err();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(error("web").await, Some(ConnectError::Refused));
    assert_eq!(error("half.dead").await, Some(ConnectError::Refused), "the better news of the two");
    assert_eq!(error("all.dead").await, Some(ConnectError::Unreachable));
    assert_eq!(error("no.such.name").await, Some(ConnectError::Name(LookupError::NoSuchName)));
    assert_eq!(error("no name").await, Some(ConnectError::Name(LookupError::NotAName)));
}

#[unikernel_rt::test]
async fn without_a_server_there_are_no_names() {
    let (client, _server) = stacks(Faults::NONE);
    assert_eq!(client.lookup("web").await, Err(LookupError::NoServer));
    assert_eq!(Instant::now(), Instant::from_micros(0), "nobody would tell one");
}

#[unikernel_rt::test]
async fn a_machine_that_gets_no_address_says_so() {
    let (left, _right) = cable(Faults::NONE);
    let stack = Stack::new(Box::new(left), Config { dns: vec![SERVER.into()], ..Config::default() });
    assert_eq!(stack.lookup("web").await, Err(LookupError::NotConfigured));
    assert_eq!(Instant::now(), Instant::from_millis(10_000));
    assert_eq!(stack.lookup("10.0.0.2").await, Ok(addresses(&["10.0.0.2"])));
}

/// A time server (RFC 5905) whose clock is `ahead` of the one all machines of the test begin with.
fn serve_time(stack: &Stack, ahead: Duration) {
    let socket = stack.udp(123).unwrap();
    let boot = unix_time() - (Instant::now() - Instant::from_micros(0));
    unikernel_rt::spawn(async move {
        let mut packet = [0; 48];
        loop {
            let from = socket.recv_from(&mut packet).await.from;
            let time = boot + (Instant::now() - Instant::from_micros(0)) + ahead;
            let cookie: [u8; 8] = packet[40..].try_into().unwrap();
            packet = [0; 48];
            packet[..2].copy_from_slice(&[0x24, 1]);
            packet[24..32].copy_from_slice(&cookie);
            for place in [32, 40] {
                packet[place..place + 4].copy_from_slice(&((time.as_secs() + 2_208_988_800) as u32).to_be_bytes());
                let fraction = (u64::from(time.subsec_micros()) << 32) / 1_000_000;
                packet[place + 4..place + 8].copy_from_slice(&(fraction as u32).to_be_bytes());
            }
            socket.send_to(&packet, from).await.unwrap();
        }
    });
}

#[unikernel_rt::test]
async fn the_wall_clock_is_set_by_a_server_with_a_name() {
    let (left, right) = cable(Faults { delay: Duration::from_millis(1), ..Faults::NONE });
    let config = Config { dns: vec![SERVER.into()], ntp: vec!["web.lab".into()], ..fixed(CLIENT) };
    let (_client, server) = (Stack::new(Box::new(left), config), Stack::new(Box::new(right), fixed(SERVER)));
    serve_dns(&server, zone);
    let start = unix_time();
    serve_time(&server, Duration::from_secs(1000));
    sleep(Duration::from_secs(20)).await;
    let error = unix_time().abs_diff(start + Duration::from_secs(1020));
    assert!(error < Duration::from_millis(2), "{error:?}");
}
