//! Random and mutated frames into a stack: it does not panic, stays within its bounds, and still serves.

mod common;
use common::{
    raw::{ACK, FIN, PSH, RST, SYN, Tcp, arp_request, ping, udp},
    *,
};
use unikernel_net::{Config, Read, Write, limits::Bounds};
use unikernel_rt::{
    device::{Frame, NetDevice},
    sim::{Random, SimPort},
    time::{Duration, sleep},
};

/// A peer that has read the RFCs and wishes nobody well.
struct Fuzzer {
    random: Random,
    port: SimPort,
    /// Segments the stack sent, to be answered with almost the right numbers.
    heard: Vec<Tcp>,
}

impl Fuzzer {
    fn listen(&mut self) {
        while let Some(frame) = self.port.receive() {
            if let Some(tcp) = Tcp::parse(&frame) {
                self.heard.push(tcp);
            }
            if self.heard.len() > 50 {
                self.heard.remove(0);
            }
        }
    }

    fn flags(&mut self) -> u8 {
        let all = [SYN, ACK, ACK, ACK | PSH, FIN | ACK, FIN | ACK, RST, RST | ACK, SYN | ACK, 0, 0x3f];
        all[self.random.below(all.len())]
    }

    /// Near `value`, often it.
    fn near(&mut self, value: u32) -> u32 {
        match self.random.below(6) {
            0 => self.random.u64() as u32,
            1 => value.wrapping_add(self.random.below(5000) as u32),
            2 => value.wrapping_sub(self.random.below(5000) as u32),
            3 => value.wrapping_add(1),
            _ => value,
        }
    }

    fn segment(&mut self) -> Frame {
        let flags = self.flags();
        let len = [0, 0, 1, 500, 1460][self.random.below(5)];
        let (data, window) = (data(len, self.random.u64()), [0, 1, 1000, 65535][self.random.below(4)]);
        let source = 5000 + self.random.below(30) as u16;
        if self.heard.is_empty() || self.random.chance(300) {
            return Tcp { window, ..Tcp::syn(source, 7, self.random.u64() as u32) }.frame();
        }
        let said = self.heard[self.random.below(self.heard.len())].clone();
        let end = said.sequence.wrapping_add(said.data.len() as u32 + u32::from(said.flags & (SYN | FIN) != 0));
        let (sequence, acknowledgement) = (self.near(said.acknowledgement), self.near(end));
        Tcp {
            source: said.destination,
            destination: said.source,
            sequence,
            acknowledgement,
            flags,
            window,
            data,
            from: CLIENT,
        }
        .frame()
    }

    fn frame(&mut self) -> Frame {
        let mut frame = match self.random.below(12) {
            0 => arp_request(SERVER),
            1 => ping(SERVER, b"ping"),
            2 => udp((CLIENT, 67), (SERVER, 68), raw::SERVER_MAC, &data(300, self.random.u64())),
            3 => {
                let len = self.random.below(100);
                Frame::from_bytes(&data(len, self.random.u64()))
            }
            _ => self.segment(),
        };
        if self.random.chance(200) {
            self.mutate(&mut frame);
        }
        frame
    }

    /// Wrong bits, lengths and ends; half of the time the sums are believed, so that it gets further.
    fn mutate(&mut self, frame: &mut Frame) {
        for _ in 0..1 + self.random.below(4) {
            if frame.is_empty() {
                return;
            }
            let at = self.random.below(frame.len());
            frame[at] = self.random.u64() as u8;
        }
        if self.random.chance(300) {
            frame.resize(self.random.below(frame.len() + 1));
        }
        if self.random.chance(500) {
            frame.checksum = unikernel_rt::device::Checksum::Valid;
        }
    }
}

fn stats_of(stack: &unikernel_net::Stack) -> u64 {
    stack.stats().accepted
}

async fn check(seed: u64, config: Config) {
    let (port, stack) = server_and_port(Config {
        bounds: Bounds { connections: Some(20), half_open: Some(30), ..Bounds::default() },
        ..config
    });
    serve_echo(&stack, 7);
    let mut fuzzer = Fuzzer { random: Random::new(seed), port, heard: Vec::new() };
    for _ in 0..5_000 {
        let frame = fuzzer.frame();
        let _ = fuzzer.port.transmit(frame);
        if fuzzer.random.chance(300) {
            sleep(Duration::from_micros(fuzzer.random.below(200_000) as u64)).await;
            fuzzer.listen();
        }
        let stats = stack.stats();
        assert!(
            stats.flows <= 20 && stats.by_state.half_open <= 30 && stats.time_wait <= 80 && stats.fragmented <= 16,
            "seed {seed}: {stats:?}"
        );
    }
    // It got through the handshake, not only past the door.
    assert!(stack.addresses().is_empty() || stats_of(&stack) > 0, "seed {seed}");
    // Everything but what its peer left open and silent ends.
    sleep(Duration::from_secs(2_000)).await;
    let stats = stack.stats();
    assert_eq!(stats.by_state.half_open + stats.by_state.orphaned, 0, "seed {seed}: {stats:?}");
}

#[unikernel_rt::test]
async fn frames_of_every_kind() {
    for seed in 0..40 {
        check(seed, fixed(SERVER)).await;
    }
}

#[unikernel_rt::test]
async fn frames_of_every_kind_while_there_is_no_address() {
    for seed in 100..110 {
        check(seed, Config::default()).await;
    }
}

/// Noise on the cable between two stacks that talk: garbage is added, nothing is lost.
#[unikernel_rt::test]
async fn an_echo_goes_on_under_garbage() {
    let (client, server) = stacks(bad(50, 77));
    serve_echo(&server, 7);
    let mut stream = connect_patiently(&client, 7).await;
    for round in 0..50u8 {
        stream.write_all(&[round; 700]).await.unwrap();
        let mut answer = [0; 700];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [round; 700]);
    }
}
