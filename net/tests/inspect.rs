//! The list of sockets, and captures.
#![allow(missing_docs)]

mod common;

use common::{
    CLIENT, SERVER, at, fixed,
    raw::{ACK, SYN, Tcp},
    serve_echo, server_and_port, stacks,
};
use std::collections::BTreeMap;
use unikernel_net::{
    Captured, Direction, Filter, Protocol, Read, SocketInfo, SocketOwner, SocketState, Stack, Stream, Write,
};
use unikernel_rt::{
    device::NetDevice,
    sim::{Faults, SimPort},
    time::{Duration, sleep},
};

/// All sockets, by pages of so many.
fn sockets(stack: &Stack, max: usize) -> Vec<SocketInfo> {
    let (mut all, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let page = stack.sockets(place, max);
        assert!(page.sockets.len() <= max);
        all.extend(page.sockets);
        from = page.next;
    }
    all
}

fn states(stack: &Stack) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    sockets(stack, 7).iter().for_each(|socket| *states.entry(socket.state.to_string()).or_default() += 1);
    states
}

async fn connect(stack: &Stack, count: usize) -> Vec<Stream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(stack.connect(at(7)).await.unwrap());
    }
    streams
}

#[unikernel_rt::test]
async fn each_socket_is_on_one_page() {
    let (client, server) = stacks(Faults::NONE);
    serve_echo(&server, 7);
    let datagrams = server.udp(99).unwrap();
    let mut streams = connect(&client, 100).await;
    sleep(Duration::from_millis(1)).await;
    for max in [1, 7, 1000] {
        let all = sockets(&server, max);
        let of = |state| all.iter().filter(move |socket| socket.state == state);
        let ports: Vec<_> = of(SocketState::Listen).map(|socket| socket.local.port()).collect();
        assert_eq!(ports, [7]);
        assert!(of(SocketState::Udp).any(|socket| socket.local.port() == 99));
        let mut peers: Vec<_> = of(SocketState::Established).map(|socket| socket.peer.unwrap()).collect();
        peers.sort();
        peers.dedup();
        assert_eq!(peers.len(), 100);
        assert!(of(SocketState::Established).all(|socket| socket.local == at(7)));
    }
    drop(datagrams);
    // Half of them close, which the server answers: what it closes last is over at once, with the client it stays.
    drop(streams.split_off(50));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(states(&server).get("ESTABLISHED"), Some(&50));
    assert_eq!(states(&client).get("TIME-WAIT"), Some(&50));
}

/// Says something to the server by hand; the TCP segments that come back.
async fn say(port: &mut SimPort, tcp: &Tcp) -> Vec<Tcp> {
    port.transmit(tcp.frame()).unwrap();
    sleep(Duration::from_millis(1)).await;
    std::iter::from_fn(|| port.receive()).filter_map(|frame| Tcp::parse(&frame)).collect()
}

#[unikernel_rt::test]
async fn a_handshake_that_is_done_between_two_pages_is_seen() {
    let (mut port, server) = server_and_port(fixed(SERVER));
    let _listener = server.listen(7).unwrap();
    let mut acks = Vec::new();
    for source in [5000, 5001] {
        let syn = Tcp::syn(source, 7, 1000);
        let [answer] = &say(&mut port, &syn).await[..] else { panic!("one SYN|ACK") };
        assert_eq!(answer.flags, SYN | ACK);
        let acknowledgement = answer.sequence.wrapping_add(1);
        acks.push(Tcp { flags: ACK, sequence: 1001, acknowledgement, ..syn });
    }
    let listener = server.sockets(0, 1);
    let first = server.sockets(listener.next.unwrap(), 1);
    assert_eq!(first.sockets[0].state, SocketState::SynReceived);
    for ack in &acks {
        assert_eq!(say(&mut port, ack).await.len(), 0);
    }
    let rest = server.sockets(first.next.unwrap(), 9);
    let mut peers: Vec<_> = rest.sockets.iter().map(|socket| (socket.state, socket.peer.unwrap().port())).collect();
    peers.sort_by_key(|(_, port)| *port);
    assert_eq!(peers, [(SocketState::Established, 5000), (SocketState::Established, 5001)]);
}

#[unikernel_rt::test]
async fn queues_and_owners_are_told() {
    let (client, server) = stacks(Faults { delay: Duration::from_millis(5), ..Faults::NONE });
    let mut listener = server.listen(7).unwrap();
    let mut stream = client.connect(at(7)).await.unwrap();
    stream.write_all(b"12345").await.unwrap();
    sleep(Duration::from_millis(6)).await;
    let find = |stack: &Stack, state| sockets(stack, 9).into_iter().find(|socket| socket.state == state).unwrap();
    assert_eq!(find(&server, SocketState::Listen).receive_queue, 1, "it waits for accept");
    let queued = find(&server, SocketState::Established);
    assert_eq!((queued.owner, queued.receive_queue), (SocketOwner::Backlog, 5));
    let sent = find(&client, SocketState::Established);
    assert_eq!((sent.owner, sent.send_queue, sent.peer), (SocketOwner::App, 5, Some(at(7))));
    let mut accepted = listener.accept().await;
    let mut bytes = [0; 9];
    assert_eq!(accepted.read(&mut bytes).await, Ok(5));
    let peer = accepted.peer();
    let socket = find(&server, SocketState::Established);
    assert_eq!((socket.owner, socket.receive_queue), (SocketOwner::App, 0));
    assert!(server.is_connected(7, peer) && !server.is_connected(8, peer));
    drop(stream);
    sleep(Duration::from_millis(20)).await;
    assert!(!server.is_connected(7, peer), "the peer has ended it");
}

async fn pass(client: &Stack, bytes: &[u8]) {
    let mut stream = client.connect(at(7)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut back = vec![0; bytes.len()];
    let mut len = 0;
    while len < bytes.len() {
        len += stream.read(&mut back[len..]).await.unwrap();
    }
}

fn read(capture: &mut unikernel_net::Capture) -> Vec<Captured> {
    std::iter::from_fn(|| capture.try_next()).collect()
}

fn contains(frame: &Captured, bytes: &[u8]) -> bool {
    frame.bytes.windows(bytes.len()).any(|window| window == bytes)
}

#[unikernel_rt::test]
async fn both_directions_are_captured() {
    let (client, server) = stacks(Faults::NONE);
    serve_echo(&server, 7);
    let mut all = server.capture(Filter::default(), usize::MAX);
    let mut heads = server.capture(Filter { protocol: Some(Protocol::Tcp), ..Filter::default() }, 54);
    let mut nothing = server.capture(Filter { port: Some(8), ..Filter::default() }, usize::MAX);
    pass(&client, b"a marked word").await;
    let frames = read(&mut all);
    for direction in [Direction::In, Direction::Out] {
        let marked = frames.iter().filter(|frame| frame.direction == direction && contains(frame, b"a marked word"));
        assert_eq!(marked.count(), 1);
    }
    assert_eq!((all.seen() as usize, all.dropped()), (frames.len(), 0));
    let heads = read(&mut heads);
    assert!(heads.len() < frames.len() && heads.iter().all(|frame| frame.bytes.len() <= 54));
    assert!(heads.iter().any(|frame| frame.len > frame.bytes.len()));
    assert_eq!(read(&mut nothing).len(), 0);
    drop(all);
    let mut after = client.capture(Filter { host: Some(SERVER.into()), ..Filter::default() }, usize::MAX);
    pass(&client, b"another").await;
    assert!(read(&mut after).iter().any(|frame| contains(frame, b"another")));
    assert_eq!(client.capture(Filter { host: Some(CLIENT.into()), ..Filter::default() }, 9).seen(), 0);
}

#[unikernel_rt::test]
async fn what_nobody_reads_is_dropped_and_counted() {
    let (client, server) = stacks(Faults::NONE);
    let mut listener = server.listen(7).unwrap();
    unikernel_rt::spawn(async move {
        let mut stream = listener.accept().await;
        while let Ok(1..) = stream.read(&mut [0; 4096]).await {}
    });
    let mut capture = server.capture(Filter::default(), usize::MAX);
    let mut stream = client.connect(at(7)).await.unwrap();
    stream.write_all(&vec![b'x'; 8 << 20]).await.unwrap();
    assert!(capture.dropped() > 0);
    let (seen, dropped) = (capture.seen(), capture.dropped());
    let kept = read(&mut capture);
    assert_eq!(seen, kept.len() as u64 + dropped);
    assert!(kept.iter().map(|frame| frame.bytes.len()).sum::<usize>() <= unikernel_net::limits::CAPTURE_MEMORY_MAX);
}
