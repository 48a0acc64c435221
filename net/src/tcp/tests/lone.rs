//! One connection whose peer is the test. Numbers are told from the start: the first byte of either side is 0.

use super::{
    super::{Budget, Opened, Outcome, ReadResult, Settings, State, SynOptions, Tcb, WriteResult, flag},
    invariants::Watch,
    world::{Packet, micros, settings},
};
use std::{format, string::String, vec, vec::Vec};
use unikernel_rt::time::{Duration, Instant};

pub(super) const ISS: u32 = u32::MAX - 1000;
pub(super) const IRS: u32 = 0x7fff_0000;

/// The window that the peer tells, in bytes; its scale is 0.
pub(super) const PEER_WINDOW: u16 = 20_000;

pub(super) struct Lone {
    pub(super) tcb: Tcb,
    pub(super) budget: Budget,
    pub(super) now: u64,
    watch: Watch,
}

impl Lone {
    /// Connected, idle, its round trip 10 ms.
    pub(super) fn open(sack: bool) -> Lone {
        Lone::open_with(&settings(), sack)
    }

    pub(super) fn open_with(settings: &Settings, sack: bool) -> Lone {
        let opened = Opened {
            iss: ISS,
            irs: IRS,
            window: PEER_WINDOW.into(),
            mss: Some(1000),
            peer_scale: Some(0),
            own_scale: 0,
            sack,
            rtt: Some(Duration::from_millis(10)),
        };
        Lone::with(Tcb::established(settings, &opened, micros(1_000_000)))
    }

    /// In SYN-SENT, its SYN is out.
    pub(super) fn connecting() -> Lone {
        let mut lone = Lone::with(Tcb::connect(&settings(), ISS, micros(1_000_000)));
        assert_eq!(lone.output(), "-1+0 S");
        lone
    }

    fn with(tcb: Tcb) -> Lone {
        let watch = Watch::new(&tcb);
        Lone { tcb, budget: Budget::new(64 << 20), now: 1_000_000, watch }
    }

    pub(super) fn now(&self) -> Instant {
        micros(self.now)
    }

    /// A segment of the peer's: flags as letters, its place in the peer's stream, what it acknowledges, its length.
    pub(super) fn packet(flags: &str, seq: i64, ack: i64, len: usize) -> Packet {
        Packet {
            seq: IRS.wrapping_add(1).wrapping_add(seq as u32),
            ack: ISS.wrapping_add(1).wrapping_add(ack as u32),
            window: PEER_WINDOW,
            flags: bits(flags),
            options: Vec::new(),
            payload: vec![b'x'; len],
        }
    }

    pub(super) fn get(&mut self, packet: &Packet) -> Outcome {
        let outcome = self.tcb.on_segment(&packet.segment(), self.now(), &mut self.budget);
        self.watch.check(&self.tcb);
        outcome
    }

    /// [`packet`](Self::packet) and [`get`](Self::get).
    pub(super) fn hear(&mut self, flags: &str, seq: i64, ack: i64, len: usize) -> Outcome {
        self.get(&Lone::packet(flags, seq, ack, len))
    }

    /// An acknowledgement with selective blocks.
    pub(super) fn hear_sack(&mut self, ack: i64, blocks: &[(i64, i64)]) -> Outcome {
        let mut packet = Lone::packet("A", 0, ack, 0);
        packet.options = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
        for (first, end) in blocks {
            for edge in [first, end] {
                packet.options.extend(ISS.wrapping_add(1).wrapping_add(*edge as u32).to_be_bytes());
            }
        }
        self.get(&packet)
    }

    /// An acknowledgement that tells a window.
    pub(super) fn hear_window(&mut self, ack: i64, window: u16) -> Outcome {
        self.get(&Packet { window, ..Lone::packet("A", 0, ack, 0) })
    }

    pub(super) fn write(&mut self, len: usize) {
        assert_eq!(self.tcb.write(&vec![b'y'; len], &mut self.budget), WriteResult::Taken(len));
    }

    /// All segments that go out now.
    pub(super) fn packets(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(outgoing) = self.tcb.next_segment(1000, self.now()) {
            packets.extend(Packet::split(&self.tcb, &outgoing));
            assert!(packets.len() < 5000, "it never stops sending: {:?} {}", packets.last(), self.tcb.picture());
            self.watch.check(&self.tcb);
        }
        packets
    }

    /// The same as text: place, length, flags other than ACK and PSH.
    pub(super) fn output(&mut self) -> String {
        let packets = self.packets();
        let texts: Vec<String> = packets.iter().map(text).collect();
        texts.join(" ")
    }

    /// Lets time pass, timers included. Returns what goes out then.
    pub(super) fn pass(&mut self, millis: u64) -> String {
        let end = self.now + millis * 1000;
        let mut texts = Vec::new();
        while self.tcb.next_moment().as_micros() <= end {
            self.now = self.tcb.next_moment().as_micros();
            self.tcb.on_time(self.now());
            self.watch.check(&self.tcb);
            texts.extend(Some(self.output()).filter(|text| !text.is_empty()));
        }
        self.now = end;
        texts.join(" ")
    }

    pub(super) fn read(&mut self) -> usize {
        let mut buffer = [0; 65536];
        match self.tcb.read(&mut buffer) {
            ReadResult::Data(len) => len,
            _ => 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.tcb.state() == State::Established
    }
}

fn bits(letters: &str) -> u8 {
    let bit = |letter: char| match letter {
        'S' => flag::SYN,
        'F' => flag::FIN,
        'R' => flag::RST,
        'P' => flag::PSH,
        'A' => flag::ACK,
        _ => panic!("{letter} is no flag"),
    };
    letters.chars().map(bit).sum()
}

fn text(packet: &Packet) -> String {
    let place = packet.seq.wrapping_sub(ISS.wrapping_add(1)) as i32;
    let names = [(flag::SYN, " S"), (flag::FIN, " F"), (flag::RST, " R")];
    let flags: String = names.iter().filter(|(bit, _)| packet.flags & bit != 0).map(|(_, name)| *name).collect();
    format!("{place}+{}{flags}", packet.payload.len())
}

/// The options of a SYN, as bytes.
pub(super) fn syn_options(mss: u16, scale: Option<u8>, sack: bool) -> Vec<u8> {
    let options = super::super::Options::Syn(SynOptions { mss: Some(mss), scale, sack });
    let mut bytes = vec![0; options.len()];
    options.write(&mut bytes);
    bytes
}
