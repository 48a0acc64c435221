//! What a peer that is no stack sees on the cable.

mod common;
use common::{
    raw::{ACK, FIN, PSH, RST, SYN, Tcp, arp_request, ping, sum},
    *,
};
use std::{
    cell::RefCell,
    collections::VecDeque,
    net::Ipv4Addr,
    rc::Rc,
    task::{Context, Poll, Waker},
};
use unikernel_net::{Config, Direction, Filter, Protocol, Read, Stack, Write, limits::Bounds};
use unikernel_rt::{
    device::{Checksum, Frame, NetDevice, Offloads},
    task::yield_now,
    time::{Duration, sleep},
};

/// A port whose other end is the test.
#[derive(Clone, Default)]
struct Bench(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    to_stack: VecDeque<Frame>,
    from_stack: VecDeque<Frame>,
    offloads: Offloads,
    /// How many frames the port takes before it is full.
    room: Option<usize>,
    flushed: usize,
    waker: Option<Waker>,
}

impl NetDevice for Bench {
    fn mac(&self) -> [u8; 6] {
        raw::SERVER_MAC
    }
    fn mtu(&self) -> usize {
        1500
    }
    fn offloads(&self) -> Offloads {
        self.0.borrow().offloads
    }
    fn receive(&mut self) -> Option<Frame> {
        self.0.borrow_mut().to_stack.pop_front()
    }
    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        let mut state = self.0.borrow_mut();
        if state.room.is_some_and(|room| state.from_stack.len() >= room) {
            return Err(frame);
        }
        state.from_stack.push_back(frame);
        Ok(())
    }
    fn flush(&mut self) {
        let mut state = self.0.borrow_mut();
        state.flushed = state.from_stack.len();
    }
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        if !state.to_stack.is_empty() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Bench {
    fn stack(&self) -> Stack {
        Stack::new(Box::new(self.clone()), fixed(SERVER))
    }

    fn put(&self, frame: Frame) {
        let mut state = self.0.borrow_mut();
        state.to_stack.push_back(frame);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// What the stack sends within a moment.
    async fn take(&self) -> Vec<Frame> {
        sleep(Duration::from_millis(20)).await;
        let mut state = self.0.borrow_mut();
        let frames: Vec<_> = state.from_stack.drain(..).collect();
        assert_eq!(state.flushed, frames.len(), "the doorbell was rung for everything");
        let frames: Vec<_> = frames.into_iter().filter(|frame| !is_arp_request(frame)).collect();
        state.flushed = 0;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        frames
    }

    async fn ask(&self, frame: Frame) -> Vec<Frame> {
        self.put(frame);
        self.take().await
    }

    async fn ask_tcp(&self, tcp: &Tcp) -> Vec<Tcp> {
        self.ask(tcp.frame()).await.iter().map(|frame| Tcp::parse(frame).expect("TCP")).collect()
    }

    /// A handshake by hand; returns the client's next segment, empty.
    async fn open(&self, source: u16, destination: u16) -> Tcp {
        let syn = Tcp::syn(source, destination, 1000);
        let [answer] = &self.ask_tcp(&syn).await[..] else { panic!("one SYN|ACK") };
        assert_eq!((answer.flags, answer.acknowledgement), (SYN | ACK, 1001));
        let ack = Tcp { sequence: 1001, acknowledgement: answer.sequence.wrapping_add(1), flags: ACK, ..syn };
        assert!(self.ask_tcp(&ack).await.is_empty());
        ack
    }
}

/// ARP that asks: every machine begins with probes for its own address (RFC 5227), and looks for a silent peer.
fn is_arp_request(frame: &[u8]) -> bool {
    frame[12..14] == [0x08, 0x06] && frame[20..22] == [0, 1]
}

#[unikernel_rt::test]
async fn arp_is_answered() {
    let bench = Bench::default();
    let _stack = bench.stack();
    let answers = bench.ask(arp_request(SERVER)).await;
    assert_eq!(answers.len(), 1);
    assert_eq!((&answers[0][..6], &answers[0][12..14]), (&raw::CLIENT_MAC[..], &[8, 6][..]));
    assert_eq!(answers[0][20..32], [&[0, 2][..], &raw::SERVER_MAC, &SERVER.octets()].concat());
    assert!(bench.ask(arp_request(Ipv4Addr::new(10, 0, 0, 77))).await.is_empty());
}

/// A ping is answered with its data, or not at all.
async fn check_ping(to: Ipv4Addr, data: &[u8], answered: bool) {
    let bench = Bench::default();
    let _stack = bench.stack();
    let answers = bench.ask(ping(to, data)).await;
    assert_eq!(answers.len(), usize::from(answered), "{to}");
    for answer in answers {
        assert_eq!(sum(&[&answer[14..34]]), 0xffff);
        assert_eq!((answer[34], &answer[38..]), (0, &[&[1, 2, 3, 4], data].concat()[..]));
        assert_eq!(sum(&[&answer[34..]]), 0xffff);
    }
}

#[unikernel_rt::test]
async fn pings() {
    check_ping(SERVER, b"", true).await;
    check_ping(SERVER, &data(1400, 1), true).await;
    check_ping(Ipv4Addr::new(10, 0, 0, 255), b"all", false).await;
    check_ping(Ipv4Addr::new(10, 0, 0, 3), b"other", false).await;
}

/// A segment for nobody: the flags of the answer, if one is sent.
async fn check_unmatched(flags: u8, expected: Option<u8>) {
    let bench = Bench::default();
    let stack = bench.stack();
    let answers = bench.ask_tcp(&Tcp { flags, acknowledgement: 77, ..Tcp::syn(5000, 81, 1000) }).await;
    assert_eq!(answers.first().map(|answer| answer.flags), expected);
    assert_eq!(stack.stats().flows, 0);
}

#[unikernel_rt::test]
async fn segments_for_nobody() {
    check_unmatched(SYN, Some(RST | ACK)).await;
    check_unmatched(ACK, Some(RST)).await;
    check_unmatched(FIN | ACK, Some(RST)).await;
    check_unmatched(RST, None).await;
    check_unmatched(RST | ACK, None).await;
}

#[unikernel_rt::test]
async fn an_answer_carries_the_acknowledgement_and_the_fin() {
    let bench = Bench::default();
    let stack = bench.stack();
    let mut listener = stack.listen(80).unwrap();
    unikernel_rt::spawn(async move {
        let mut stream = listener.accept().await;
        stream.read(&mut [0; 100]).await.unwrap();
        stream.write_all(b"answer").await.unwrap();
    });
    let ack = bench.open(5000, 80).await;
    let request = Tcp { flags: ACK | PSH, data: b"request".to_vec(), ..ack.clone() };
    let answers = bench.ask_tcp(&request).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(
        (answers[0].flags, answers[0].acknowledgement, &answers[0].data[..]),
        (FIN | PSH | ACK, 1008, &b"answer"[..])
    );
    // The last FIN is acknowledged from the record, and again when it comes again.
    let fin = Tcp { flags: FIN | ACK, sequence: 1008, acknowledgement: answers[0].sequence.wrapping_add(7), ..ack };
    for _ in 0..3 {
        let [last] = &bench.ask_tcp(&fin).await[..] else { panic!("one acknowledgement") };
        assert_eq!((last.flags, last.sequence, last.acknowledgement), (ACK, fin.acknowledgement, 1009));
        assert_eq!((stack.stats().flows, stack.stats().time_wait), (0, 1));
    }
    // The same port again, beyond the old sequence numbers: a new connection.
    let [answer] = &bench.ask_tcp(&Tcp::syn(5000, 81, 2000)).await[..] else { panic!("one answer") };
    assert_eq!(answer.flags, RST | ACK);
}

#[unikernel_rt::test]
async fn a_port_in_time_wait_opens_again_only_beyond_the_old_numbers() {
    let bench = Bench::default();
    let stack = bench.stack();
    let mut listener = stack.listen(80).unwrap();
    unikernel_rt::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let syn = Tcp::syn(5000, 80, 1000);
    let [synack] = &bench.ask_tcp(&syn).await[..] else { panic!("one SYN|ACK") };
    let ack = Tcp { sequence: 1001, acknowledgement: synack.sequence.wrapping_add(1), flags: ACK, ..syn.clone() };
    let [fin] = &bench.ask_tcp(&ack).await[..] else { panic!("one FIN") };
    assert_eq!(fin.flags, FIN | ACK);
    let ours = Tcp { acknowledgement: fin.sequence.wrapping_add(1), flags: FIN | ACK, ..ack };
    assert_eq!(bench.ask_tcp(&ours).await.len(), 1);
    assert_eq!(stack.stats().time_wait, 1);
    for (sequence, flags) in [(900, ACK), (1002, ACK), (1003, SYN | ACK)] {
        let [answer] = &bench.ask_tcp(&Tcp { sequence, ..syn.clone() }).await[..] else { panic!("one answer") };
        assert_eq!(answer.flags, flags, "SYN with {sequence}");
    }
}

/// A SYN and the segment that completes its handshake.
async fn half_open(bench: &Bench, port: u16) -> Tcp {
    let syn = Tcp::syn(port, 80, 1000);
    let [answer] = &bench.ask_tcp(&syn).await[..] else { panic!("one SYN|ACK") };
    Tcp { flags: ACK, sequence: 1001, acknowledgement: answer.sequence.wrapping_add(1), ..syn }
}

#[unikernel_rt::test]
async fn handshakes_beyond_the_table_are_not_remembered_and_yet_completed() {
    let bench = Bench::default();
    let bounds = Bounds { half_open: Some(3), ..Bounds::default() };
    let stack = Stack::new(Box::new(bench.clone()), Config { bounds, ..fixed(SERVER) });
    let _listener = stack.listen(80).unwrap();
    let mut acks = Vec::new();
    for port in 5000..5006 {
        acks.push(half_open(&bench, port).await);
    }
    let stats = stack.stats();
    assert_eq!((stats.by_state.half_open, stats.cookies, stats.flows), (3, 3, 0));
    for ack in &acks {
        assert!(bench.ask_tcp(ack).await.is_empty());
    }
    assert_eq!((stack.stats().by_state.queued, stack.stats().by_state.half_open), (6, 0));
    // A guess is refused, and so is a cookie that is too old.
    let guess = Tcp { acknowledgement: acks[4].acknowledgement ^ 1, source: 6000, ..acks[4].clone() };
    assert_eq!(bench.ask_tcp(&guess).await[0].flags, RST);
    let late = half_open(&bench, 7000).await;
    assert_eq!(stack.stats().by_state.half_open, 1, "there is room again");
    sleep(Duration::from_secs(40)).await;
    bench.take().await;
    assert_eq!(bench.ask_tcp(&late).await[0].flags, RST, "it was given up");
}

#[unikernel_rt::test]
async fn a_handshake_that_is_not_completed_is_answered_again_and_given_up() {
    let bench = Bench::default();
    let stack = bench.stack();
    let _listener = stack.listen(80).unwrap();
    half_open(&bench, 5000).await;
    sleep(Duration::from_secs(40)).await;
    let again = bench.take().await;
    assert_eq!(again.len(), 4);
    assert!(again.iter().all(|frame| Tcp::parse(frame).unwrap().flags == SYN | ACK));
    assert_eq!((stack.stats().by_state.half_open, stack.stats().drops.half_open), (0, 1));
}

#[unikernel_rt::test]
async fn one_source_leaves_room_for_others() {
    let bench = Bench::default();
    let bounds = Bounds { per_source: Some(2), ..Bounds::default() };
    let stack = Stack::new(Box::new(bench.clone()), Config { bounds, ..fixed(SERVER) });
    let _listener = stack.listen(80).unwrap();
    for port in 5000..5002 {
        bench.open(port, 80).await;
    }
    assert!(bench.ask_tcp(&Tcp::syn(5002, 80, 1000)).await.is_empty());
    assert_eq!(stack.stats().drops.per_source, 1);
    let other = Tcp { from: Ipv4Addr::new(10, 0, 0, 7), ..Tcp::syn(5002, 80, 1000) };
    assert_eq!(bench.ask_tcp(&other).await.len(), 1);
}

/// RFC 5961, 3: only the exact number ends a handshake or a connection.
#[unikernel_rt::test]
async fn a_reset_by_a_stranger_ends_no_handshake() {
    let bench = Bench::default();
    let stack = bench.stack();
    let _listener = stack.listen(80).unwrap();
    let ack = half_open(&bench, 5000).await;
    let blind = Tcp { flags: RST, sequence: 1002, acknowledgement: 0, ..ack.clone() };
    bench.ask_tcp(&blind).await;
    assert_eq!(stack.stats().by_state.half_open, 1);
    let exact = Tcp { sequence: 1001, ..blind };
    assert!(bench.ask_tcp(&exact).await.is_empty());
    assert_eq!(stack.stats().by_state.half_open, 0);
}

#[unikernel_rt::test]
async fn a_flood_of_spoofed_syns_stays_bounded_and_an_honest_client_is_served() {
    let bench = Bench::default();
    let stack = bench.stack();
    serve_echo(&stack, 80);
    let honest = bench.open(4000, 80).await;
    for round in 0..20_000u32 {
        let from = Ipv4Addr::from_bits(0x0b00_0000 + round);
        bench.put(Tcp { from, ..Tcp::syn(5000, 80, round) }.frame());
        if round % 500 == 0 {
            bench.take().await;
        }
    }
    let stats = stack.stats();
    assert_eq!((stats.flows, stats.by_state.half_open), (1, unikernel_net::limits::HALF_OPEN_MAX));
    bench.take().await;
    let [answer] = &bench.ask_tcp(&Tcp { data: b"still?".to_vec(), ..honest }).await[..] else { panic!("one answer") };
    assert_eq!(answer.data, b"still?");
    sleep(Duration::from_secs(40)).await;
    assert_eq!(stack.stats().flows, 1);
}

#[unikernel_rt::test]
async fn a_zero_window_is_probed_and_the_rest_sent_when_it_opens() {
    let bench = Bench::default();
    let stack = bench.stack();
    let mut listener = stack.listen(80).unwrap();
    unikernel_rt::spawn(async move {
        let mut stream = listener.accept().await;
        stream.read(&mut [0; 100]).await.unwrap();
        stream.write_all(b"abcdef").await.unwrap();
        stream.read(&mut [0; 100]).await.unwrap();
    });
    let ack = bench.open(5000, 80).await;
    let request = Tcp { window: 0, data: b"?".to_vec(), ..ack.clone() };
    let answers = bench.ask_tcp(&request).await;
    assert!(answers.iter().all(|answer| answer.data.len() <= 1), "{answers:?}");
    sleep(Duration::from_secs(10)).await;
    let probes = bench.take().await.len();
    assert!((2..=10).contains(&probes), "{probes} probes in 10 s");
    // Closed still, acknowledged: the answer to a probe. Then open.
    let next = Tcp { sequence: 1002, ..ack };
    bench.ask_tcp(&Tcp { window: 0, ..next.clone() }).await;
    let answers = bench.ask_tcp(&Tcp { window: 100, ..next }).await;
    let all: Vec<u8> = answers.iter().flat_map(|answer| answer.data.clone()).collect();
    assert_eq!(all, b"abcdef");
}

#[unikernel_rt::test]
async fn what_was_lost_before_the_window_closed_is_sent_again_when_it_opens() {
    let bench = Bench::default();
    let stack = bench.stack();
    let mut listener = stack.listen(80).unwrap();
    unikernel_rt::spawn(async move {
        let mut stream = listener.accept().await;
        stream.read(&mut [0; 100]).await.unwrap();
        stream.write_all(&[7; 2000]).await.unwrap();
        stream.read(&mut [0; 100]).await.unwrap();
    });
    let ack = bench.open(5000, 80).await;
    let request = Tcp { window: 5000, data: b"?".to_vec(), ..ack.clone() };
    let answers = bench.ask_tcp(&request).await;
    let sent: usize = answers.iter().map(|answer| answer.data.len()).sum();
    assert_eq!((answers.len(), sent), (4, 2000), "segments of 536 bytes, since the SYN names no size");
    // All but the first are lost; the first fills the peer's buffer. Then the peer makes room.
    let second = answers[1].sequence;
    let next = Tcp { sequence: 1002, acknowledgement: second, ..ack };
    bench.ask_tcp(&Tcp { window: 0, ..next.clone() }).await;
    let opened = bench.ask_tcp(&Tcp { window: 3000, ..next }).await;
    sleep(Duration::from_secs(5)).await;
    let later = bench.take().await.iter().map(|frame| Tcp::parse(frame).expect("TCP")).collect();
    let again = [opened, later].concat();
    assert!(again.iter().any(|answer| answer.sequence == second && answer.data.len() == 536), "{again:?}");
}

/// With offloads, the device finds the sum of the pseudo header where it shall complete it (virtio 1.2, 5.1.6.2).
#[unikernel_rt::test]
async fn the_device_is_asked_to_complete_sums() {
    let bench = Bench::default();
    bench.0.borrow_mut().offloads = Offloads { tx_checksum: true, rx_checksum: true, ..Offloads::default() };
    let stack = bench.stack();
    let _listener = stack.listen(80).unwrap();
    let answers = bench.ask(Tcp::syn(5000, 80, 1).frame()).await;
    let mut frame = answers[0].to_vec();
    assert_eq!(answers[0].checksum, Checksum::Partial { start: 34, offset: 16 });
    // What the device does: sum from `start`, the field included, and store the complement.
    let completed = !sum(&[&frame[34..]]);
    frame[50..52].copy_from_slice(&completed.to_be_bytes());
    assert_eq!(Tcp::parse(&frame).unwrap().flags, SYN | ACK);
    // A ping has its sum already.
    assert_eq!(bench.ask(ping(SERVER, b"x")).await[0].checksum, Checksum::Plain);
}

/// What is believed of a received frame, by its mark and the truth of its sum.
async fn check_received_sum(mark: Checksum, is_right: bool, answered: bool) {
    let bench = Bench::default();
    bench.0.borrow_mut().offloads = Offloads { rx_checksum: true, ..Offloads::default() };
    let stack = bench.stack();
    let _listener = stack.listen(80).unwrap();
    let mut frame = Tcp::syn(5000, 80, 1).frame();
    frame.checksum = mark;
    if !is_right {
        frame[50] ^= 1;
    }
    assert_eq!(bench.ask(frame).await.len(), usize::from(answered));
    assert_eq!(stack.stats().drops.checksum, u64::from(!answered));
}

#[unikernel_rt::test]
async fn sums_of_received_frames() {
    check_received_sum(Checksum::Plain, true, true).await;
    check_received_sum(Checksum::Plain, false, false).await;
    check_received_sum(Checksum::Valid, true, true).await;
    // A frame of the same host may carry a sum that nobody completed.
    check_received_sum(Checksum::Valid, false, true).await;
}

#[unikernel_rt::test]
async fn a_full_port_loses_nothing() {
    let bench = Bench::default();
    bench.0.borrow_mut().room = Some(3);
    let stack = bench.stack();
    let mut listener = stack.listen(80).unwrap();
    let sent = data(20_000, 1);
    let copy = sent.clone();
    unikernel_rt::spawn(async move {
        let mut stream = listener.accept().await;
        stream.read(&mut [0; 1]).await.unwrap();
        stream.write_all(&copy).await.unwrap();
        sleep(Duration::from_secs(1000)).await;
    });
    let mut ack = bench.open(5000, 80).await;
    bench.put(Tcp { data: vec![b'?'], ..ack.clone() }.frame());
    ack.sequence += 1;
    let mut received = Vec::new();
    let mut next = ack.acknowledgement;
    while received.len() < sent.len() {
        bench.put(Tcp { acknowledgement: next, window: 60_000, ..ack.clone() }.frame());
        for frame in bench.take().await {
            let tcp = Tcp::parse(&frame).unwrap();
            assert_eq!(tcp.sequence, next, "in order, nothing twice");
            next = next.wrapping_add(tcp.data.len() as u32);
            received.extend(tcp.data);
        }
        yield_now().await;
    }
    assert!(received == sent);
    assert_eq!(stack.stats().retransmits, 0);
}

#[unikernel_rt::test]
async fn what_a_full_port_drops_is_not_captured_as_sent() {
    let bench = Bench::default();
    let stack = bench.stack();
    bench.take().await;
    bench.0.borrow_mut().room = Some(2);
    let mut capture = stack.capture(Filter { protocol: Some(Protocol::Icmp), ..Filter::default() }, usize::MAX);
    (0..9).for_each(|_| bench.put(ping(SERVER, b"hello")));
    // The one that waited for room comes later.
    let sent = bench.take().await.len() + bench.take().await.len();
    let frames = std::iter::from_fn(|| capture.try_next());
    assert_eq!(frames.filter(|frame| frame.direction == Direction::Out).count(), sent);
    assert_eq!(stack.stats().drops.no_room, 9 - sent as u64);
    assert!(sent < 9);
}

#[unikernel_rt::test]
async fn answers_go_where_the_packets_come_from() {
    let bench = Bench::default();
    let stack = bench.stack();
    serve_echo(&stack, 80);
    let mut ack = bench.open(5000, 80).await;
    let gateway = [2, 9, 9, 9, 9, 9];
    for (round, expected) in [raw::CLIENT_MAC, gateway, gateway].into_iter().enumerate() {
        ack.data = vec![b'x'];
        let mut frame = ack.frame();
        if round > 0 {
            frame[6..12].copy_from_slice(&gateway);
        }
        let answers = bench.ask(frame).await;
        // The first packet that comes another way only raises a doubt.
        let expected = if round == 1 { raw::CLIENT_MAC } else { expected };
        assert_eq!(answers[0][..6], expected, "round {round}");
        ack.sequence += 1;
        ack.acknowledgement = ack.acknowledgement.wrapping_add(1);
    }
}
