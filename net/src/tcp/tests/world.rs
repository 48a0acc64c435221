//! Two connections and a channel between them that loses, delays, repeats and reorders, in simulated time.

use super::super::{Budget, Gone, Outgoing, Payload, ReadResult, Segment, Settings, State, Tcb, WriteResult, flag};
use super::invariants::Watch;
use std::{cmp::Reverse, collections::BinaryHeap, vec, vec::Vec};
use unikernel_rt::{
    sim::Random,
    time::{Duration, Instant},
};

pub(super) fn micros(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

pub(super) fn settings() -> Settings {
    Settings { mss_in: 1460, mss_out_max: 1460, window_max: 4 << 20, send_max: 4 << 20, user_timeout: None }
}

/// A segment on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Packet {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) flags: u8,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    pub(super) fn segment(&self) -> Segment<'_> {
        Segment {
            seq: self.seq,
            ack: self.ack,
            window: self.window,
            flags: self.flags,
            options: &self.options,
            payload: Payload::one(&self.payload),
        }
    }

    /// What the device makes of an outgoing segment: one or more packets.
    pub(super) fn split(tcb: &Tcb, outgoing: &Outgoing) -> Vec<Packet> {
        let mut options = vec![0; outgoing.options.len()];
        outgoing.options.write(&mut options);
        let mut payload = vec![0; outgoing.len as usize];
        tcb.copy_payload(outgoing, &mut payload);
        let len = usize::from(outgoing.segment_len).max(1);
        let count = payload.len().div_ceil(len).max(1);
        let packet = |n: usize| {
            let last = if n + 1 == count { 0 } else { flag::FIN | flag::PSH };
            Packet {
                seq: outgoing.seq.wrapping_add((n * len) as u32),
                ack: outgoing.ack,
                window: outgoing.window,
                flags: outgoing.flags & !last,
                options: options.clone(),
                payload: payload.iter().copied().skip(n * len).take(len).collect(),
            }
        };
        (0..count).map(packet).collect()
    }
}

/// What the channel does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub(super) delay: u64,
    pub(super) jitter: u64,
    pub(super) loss_per_100k: usize,
    pub(super) dup_per_mille: u16,
    /// Microseconds that a byte takes on the wire, in thousandths: 80 is 100 Mbit/s. 0: any number at once.
    pub(super) nanos_per_byte: u64,
    /// Packets that wait for the wire longer than this are lost.
    pub(super) queue_micros: u64,
}

impl Channel {
    pub(super) fn clean(delay: u64) -> Channel {
        Channel { delay, jitter: 0, loss_per_100k: 0, dup_per_mille: 0, nanos_per_byte: 0, queue_micros: u64::MAX }
    }
}

/// How an application behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Bytes it sends before it closes.
    pub(super) send_len: usize,
    /// Bytes it writes at a time.
    pub(super) write_len: usize,
    /// Bytes it reads at a time.
    pub(super) read_len: usize,
    /// Microseconds between two readings; 0: whenever there is something.
    pub(super) read_pause: u64,
    /// Closes only after the other side has.
    pub(super) closes_last: bool,
    /// Payload that the device takes at once.
    pub(super) payload_max: usize,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { send_len: 0, write_len: 16384, read_len: 65536, read_pause: 0, closes_last: false, payload_max: 1460 }
    }
}

pub(super) struct Host {
    pub(super) tcb: Tcb,
    pub(super) budget: Budget,
    pub(super) plan: Plan,
    pub(super) sent: usize,
    pub(super) received: usize,
    pub(super) finished: bool,
    pub(super) seed: u64,
    pub(super) packets: usize,
    read_at: u64,
    wire_free: u64,
    watch: Watch,
    calls: usize,
}

/// The byte at a place of a stream.
pub(super) fn byte(seed: u64, place: usize) -> u8 {
    let mixed = (place as u64 ^ seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

impl Host {
    pub(super) fn new(tcb: Tcb, plan: Plan, seed: u64) -> Host {
        let watch = Watch::new(&tcb);
        Host {
            tcb,
            budget: Budget::new(64 << 20),
            plan,
            sent: 0,
            received: 0,
            finished: false,
            seed,
            packets: 0,
            read_at: 0,
            wire_free: 0,
            watch,
            calls: 0,
        }
    }

    /// The application does what it can.
    fn act(&mut self, now: u64, peer_seed: u64) {
        while self.sent < self.plan.send_len {
            let len = self.plan.write_len.min(self.plan.send_len - self.sent);
            let data: Vec<u8> = (self.sent..self.sent + len).map(|place| byte(self.seed, place)).collect();
            match self.tcb.write(&data, &mut self.budget) {
                WriteResult::Taken(0) => break,
                WriteResult::Taken(len) => self.sent += len,
                other => panic!("{other:?} after {} bytes, {:?}", self.sent, self.tcb.gone()),
            }
        }
        if now >= self.read_at && !self.finished {
            self.read(peer_seed);
            self.read_at = now + self.plan.read_pause;
        }
        if self.sent == self.plan.send_len
            && (self.finished || !self.plan.closes_last)
            && self.tcb.state() != State::SynSent
        {
            self.tcb.close();
        }
    }

    fn read(&mut self, peer_seed: u64) {
        let mut buffer = vec![0; self.plan.read_len];
        loop {
            match self.tcb.read(&mut buffer) {
                ReadResult::Data(len) => {
                    for (at, got) in buffer[..len].iter().enumerate() {
                        assert_eq!(*got, byte(peer_seed, self.received + at), "at byte {}", self.received + at);
                    }
                    self.received += len;
                }
                ReadResult::NotYet => return,
                ReadResult::Finished => {
                    self.finished = true;
                    return;
                }
                ReadResult::Gone(gone) => panic!("{gone:?} after {} bytes read", self.received),
            }
            if self.plan.read_pause > 0 {
                return;
            }
        }
    }

    fn is_done(&self) -> bool {
        self.finished && self.tcb.gone() == Some(Gone::Finished) && !self.tcb.has_output()
    }
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) hosts: [Host; 2],
    pub(super) channel: Channel,
    random: Random,
    /// Arrival, order, direction, packet.
    flying: BinaryHeap<Reverse<(u64, u64, usize, Packet)>>,
    order: u64,
    /// Somebody sends segments blindly.
    pub(super) attacked: bool,
    /// Prints every packet.
    pub(super) verbose: bool,
}

impl World {
    pub(super) fn new(a: Host, b: Host, channel: Channel, seed: u64) -> World {
        let random = Random::new(seed);
        let verbose = std::env::var_os("TCP_TRACE").is_some();
        World {
            now: 1_000_000,
            hosts: [a, b],
            channel,
            random,
            flying: BinaryHeap::new(),
            order: 0,
            attacked: false,
            verbose,
        }
    }

    /// Runs until both sides are done; how long it took. Panics when it takes longer than `limit`.
    pub(super) fn run(&mut self, limit: Duration) -> Duration {
        let (start, limit) = (self.now, limit.as_micros() as u64);
        while !self.hosts.iter().all(Host::is_done) {
            self.step();
            assert!(self.now - start <= limit, "stuck: {}", self.picture());
        }
        for host in &mut self.hosts {
            host.tcb.release(&mut host.budget);
            assert_eq!(host.budget.used(), 0);
        }
        assert_eq!(self.hosts[0].received, self.hosts[1].sent);
        assert_eq!(self.hosts[1].received, self.hosts[0].sent);
        Duration::from_micros(self.now - start)
    }

    pub(super) fn picture(&self) -> std::string::String {
        let side = |host: &Host| {
            std::format!("{:?} sent {} received {} {}", host.tcb.state(), host.sent, host.received, host.tcb.picture())
        };
        std::format!("at {} µs\n {}\n {}", self.now, side(&self.hosts[0]), side(&self.hosts[1]))
    }

    /// Everything that happens now, then to the next moment.
    pub(super) fn step(&mut self) {
        for side in 0..2 {
            let peer_seed = self.hosts[1 - side].seed;
            self.hosts[side].act(self.now, peer_seed);
            self.transmit(side);
        }
        let next = self.next_moment();
        if self.hosts.iter().all(Host::is_done) {
            return;
        }
        assert!(next != u64::MAX, "nothing will ever happen: {}", self.picture());
        assert!(next >= self.now);
        self.now = next;
        self.fire();
        self.arrive();
    }

    fn next_moment(&self) -> u64 {
        let mut next = self.flying.peek().map_or(u64::MAX, |Reverse(flying)| flying.0);
        for host in &self.hosts {
            next = next.min(host.tcb.next_moment().as_micros());
            if host.plan.read_pause > 0 && !host.finished {
                next = next.min(host.read_at.max(self.now + 1));
            }
        }
        next
    }

    fn fire(&mut self) {
        for host in &mut self.hosts {
            let now = micros(self.now);
            if host.tcb.next_moment() <= now {
                host.tcb.on_time(now);
                host.watch.check(&host.tcb);
                assert!(host.tcb.next_moment() > now, "a timer stands still");
            }
        }
    }

    fn arrive(&mut self) {
        while let Some(Reverse(flying)) = self.flying.peek()
            && flying.0 <= self.now
        {
            let Reverse((_, _, from, packet)) = self.flying.pop().unwrap();
            self.deliver(1 - from, &packet);
        }
    }

    /// A stranger's segment for `to`: one that must not do harm.
    fn blind(&mut self, to: usize) -> Option<Packet> {
        let (tcb, random) = (&self.hosts[to].tcb, &mut self.random);
        if !self.attacked || tcb.state() == State::SynSent || !random.chance(200) {
            return None;
        }
        let far = random.u64() as u32 % (1 << 30);
        let (flags, seq, ack) = match random.below(5) {
            0 => (flag::RST, tcb.rcv_nxt().wrapping_add(1 + far % 60_000), 0),
            1 => (flag::SYN, tcb.rcv_nxt().wrapping_add(far % 60_000), 0),
            2 => (flag::ACK, tcb.rcv_edge.wrapping_add(1 + far), tcb.snd_nxt()),
            3 => (flag::ACK, tcb.rcv_nxt(), tcb.snd_nxt().wrapping_add(1 + far)),
            _ => (flag::ACK | flag::FIN, tcb.rcv_nxt().wrapping_sub(2000 + far), tcb.snd_nxt()),
        };
        let payload = vec![0xbd; random.below(1000)];
        Some(Packet { seq, ack, window: 0, flags, options: Vec::new(), payload })
    }

    pub(super) fn deliver(&mut self, to: usize, packet: &Packet) {
        if let Some(blind) = self.blind(to) {
            let host = &mut self.hosts[to];
            host.tcb.on_segment(&blind.segment(), micros(self.now), &mut host.budget);
        }
        let host = &mut self.hosts[to];
        host.tcb.on_segment(&packet.segment(), micros(self.now), &mut host.budget);
        host.watch.check(&host.tcb);
        // A turn of the caller: the application reads at once, answers go out.
        let peer_seed = self.hosts[1 - to].seed;
        self.hosts[to].act(self.now, peer_seed);
        self.transmit(to);
    }

    pub(super) fn transmit(&mut self, from: usize) {
        let mut turns = 0;
        loop {
            let host = &mut self.hosts[from];
            let expected = host.tcb.has_output();
            let Some(outgoing) = host.tcb.next_segment(host.plan.payload_max, micros(self.now)) else { break };
            assert!(expected, "has_output said no");
            host.watch.check_outgoing(&host.tcb, &outgoing, host.plan.payload_max);
            host.calls += 1;
            turns += 1;
            assert!(turns < 10_000, "it never stops sending");
            for packet in Packet::split(&self.hosts[from].tcb, &outgoing) {
                self.send(from, packet);
            }
        }
        assert!(!self.hosts[from].tcb.has_output());
    }

    fn send(&mut self, from: usize, packet: Packet) {
        self.hosts[from].packets += 1;
        let lost = self.random.below(100_000) < self.channel.loss_per_100k;
        let copies = 1 + usize::from(self.random.chance(self.channel.dup_per_mille));
        let depart = self.now.max(self.hosts[from].wire_free);
        let full = depart - self.now > self.channel.queue_micros;
        if self.verbose {
            let mark = if lost || full { "x" } else { " " };
            std::eprintln!(
                "{} {from}{mark} seq {} +{} ack {} wnd {} flags {} opt {:?}",
                self.now,
                packet.seq,
                packet.payload.len(),
                packet.ack,
                packet.window,
                packet.flags,
                packet.options
            );
        }
        if lost || full {
            return;
        }
        let wire = (packet.payload.len() as u64 + 58) * self.channel.nanos_per_byte / 1000;
        self.hosts[from].wire_free = depart + wire;
        for _ in 0..copies {
            let jitter = self.random.below(self.channel.jitter as usize + 1) as u64;
            self.order += 1;
            let arrival = depart + wire + self.channel.delay + jitter;
            self.flying.push(Reverse((arrival, self.order, from, packet.clone())));
        }
    }
}
