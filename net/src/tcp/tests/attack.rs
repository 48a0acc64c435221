//! What strangers and lying peers send, and that it does no harm (RFC 5961).

use super::{
    super::{Options, SynOptions, flag, options::sack_blocks},
    lone::{IRS, ISS, Lone, PEER_WINDOW},
    world::Packet,
};
use std::{vec, vec::Vec};
use unikernel_rt::sim::Random;

/// The window told at first.
const WINDOW: i64 = 16_384;

/// What a segment may do to a connection that has sent 1000 bytes and received none.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    /// It is answered with an acknowledgement, and else ignored.
    Challenged,
    /// The connection is gone.
    Ends,
    /// Some of it is kept or believed.
    Taken,
}

fn check(flags: &str, seq: i64, ack: i64, len: usize, expected: Effect) {
    let mut lone = Lone::open(true);
    lone.write(1000);
    assert_eq!(lone.output(), "0+1000");
    let before = lone.tcb.picture();
    lone.hear(flags, seq, ack, len);
    let unchanged = lone.tcb.picture() == before.replace("pending 0", "pending 2");
    let effect = match (lone.tcb.gone().is_some(), unchanged, lone.output().as_str()) {
        (true, _, _) => Effect::Ends,
        (_, true, "1000+0") => Effect::Challenged,
        (_, _, "") if lone.tcb.picture() == before => Effect::Nothing,
        _ => Effect::Taken,
    };
    assert_eq!(effect, expected, "{flags} {seq} {ack} {len}: {}", lone.tcb.picture());
}

#[test]
fn a_reset_must_have_the_exact_number() {
    check("R", 0, 0, 0, Effect::Ends);
    check("RA", 0, 1000, 0, Effect::Ends);
    for seq in [1, 100, WINDOW - 1, WINDOW] {
        check("R", seq, 0, 0, Effect::Challenged);
    }
    for seq in [-1, -100_000, WINDOW + 1, 1 << 30, 1 << 31, (1 << 32) - 1] {
        check("R", seq, 0, 0, Effect::Nothing);
    }
}

#[test]
fn a_syn_is_only_challenged() {
    for seq in [-1, 0, 1, 100, WINDOW, WINDOW + 1, 1 << 31, -100_000] {
        check("S", seq, 0, 0, Effect::Challenged);
        check("SA", seq, 1000, 0, Effect::Challenged);
    }
}

#[test]
fn data_outside_of_the_window_is_not_taken() {
    for seq in [-100_000, -101, WINDOW + 1, 1 << 31, WINDOW + (1 << 20)] {
        check("A", seq, 1000, 100, Effect::Challenged);
        check("AF", seq, 1000, 50, Effect::Challenged);
        check("A", seq, 1000, 0, Effect::Challenged);
    }
    check("A", 0, 0, 100, Effect::Taken);
    check("A", 100, 0, 100, Effect::Taken);
}

#[test]
fn data_must_acknowledge_something_sensible() {
    let oldest = -i64::from(PEER_WINDOW);
    for ack in [1001, 1 << 30, 1 << 31, oldest - 1, -(1 << 30)] {
        check("A", 0, ack, 100, Effect::Challenged);
        check("A", 0, ack, 0, Effect::Challenged);
    }
    check("A", 0, oldest, 100, Effect::Taken);
    check("A", 0, -1, 0, Effect::Nothing);
    for flags in ["", "P", "F"] {
        check(flags, 0, 0, 100, Effect::Nothing);
    }
}

#[test]
fn challenges_are_few() {
    let mut lone = Lone::open(true);
    for period in 0..3 {
        let answers = (0..1000).filter(|_| {
            lone.hear("S", 5, 0, 0);
            !lone.output().is_empty()
        });
        assert_eq!(answers.count(), 10, "in period {period}");
        lone.pass(5_000);
    }
}

#[test]
fn two_sides_that_disagree_do_not_answer_for_ever() {
    let mut lone = Lone::open(true);
    let mut answers = 0;
    for _ in 0..1000 {
        lone.hear("A", 0, 77, 0);
        answers += lone.packets().len();
    }
    assert_eq!(answers, 10);
}

/// Sends 10 segments and hears these blocks; how many bytes then count as held by the peer.
fn sacked(ack: i64, blocks: &[(i64, i64)]) -> u32 {
    let mut lone = Lone::open(true);
    lone.write(10_000);
    lone.packets();
    lone.hear_sack(ack, blocks);
    lone.tcb.recovery.as_ref().map_or(0, |recovery| recovery.sacked.len())
}

#[test]
fn lies_about_blocks_are_not_believed() {
    assert_eq!(sacked(0, &[(1000, 2000)]), 1000);
    assert_eq!(sacked(0, &[(1000, 2000), (1000, 2000), (1500, 3000)]), 2000);
    assert_eq!(sacked(0, &[(3000, 4000), (1000, 2000), (1500, 3500)]), 3000);
    assert_eq!(sacked(0, &[(9000, 10_001)]), 0, "above what was sent");
    assert_eq!(sacked(0, &[(9000, 10_000)]), 1000);
    assert_eq!(sacked(0, &[(2000, 1000)]), 0, "the wrong way round");
    assert_eq!(sacked(0, &[(1000, 1000)]), 0, "empty");
    assert_eq!(sacked(0, &[(-500, 1000)]), 0, "from below");
    assert_eq!(sacked(2000, &[(500, 1500)]), 0, "it came twice (RFC 2883)");
    assert_eq!(sacked(0, &[(0, 1000)]), 0, "it would be acknowledged");
    assert_eq!(sacked(2000, &[(1 << 31, 5000)]), 0);
    assert_eq!(sacked(0, &[(1000, 2000), (3000, 4000), (5000, 6000)]), 3000);
}

#[test]
fn options_that_are_cut_or_wrong_end_the_reading() {
    let all = SynOptions { mss: Some(1460), scale: Some(7), sack: true };
    let mut bytes = vec![0; 12];
    Options::Syn(all).write(&mut bytes);
    assert_eq!(SynOptions::parse(&bytes), all);
    for (options, expected) in [
        (&[2, 4, 5][..], SynOptions::default()),
        (&[2, 0, 5, 180], SynOptions::default()),
        (&[2, 1, 5, 180], SynOptions::default()),
        (&[2, 3, 5, 4, 2], SynOptions { sack: true, ..SynOptions::default() }),
        (&[0, 4, 2], SynOptions::default()),
        (&[1, 1, 1, 4, 2], SynOptions { sack: true, ..SynOptions::default() }),
        (&[99, 4, 0, 0, 4, 2], SynOptions { sack: true, ..SynOptions::default() }),
        (&[3, 3, 15], SynOptions { scale: Some(14), ..SynOptions::default() }),
        (&[3, 3, 255, 9], SynOptions { scale: Some(14), ..SynOptions::default() }),
    ] {
        assert_eq!(SynOptions::parse(options), expected, "{options:?}");
    }
    assert_eq!(sack_blocks(&[5, 10, 0, 0, 0, 1, 0, 0, 0, 2]).collect::<Vec<_>>(), [(1, 2)]);
    assert_eq!(sack_blocks(&[5, 9, 0, 0, 0, 1, 0, 0, 0]).count(), 0);
    assert_eq!(sack_blocks(&[5, 10, 0, 0]).count(), 0);
}

#[test]
fn pieces_above_gaps_are_bounded() {
    let mut lone = Lone::open(true);
    for piece in 0..1000 {
        lone.hear("A", 2 + 4 * piece, 0, 1);
        lone.output();
    }
    assert_eq!(lone.tcb.holes.as_ref().map(|holes| holes.len()), Some(40));
    assert!(lone.tcb.rx.capacity() <= 16_384);
    lone.hear("A", 0, 0, 10);
    assert_eq!(lone.read(), 11, "ten, and the next that waited");
}

#[test]
fn a_giant_window_is_no_harm() {
    let mut lone = Lone::connecting();
    let mut answer = Lone::packet("SA", -1, 0, 0);
    answer.options = super::lone::syn_options(1460, Some(14), true);
    answer.window = u16::MAX;
    assert!(lone.get(&answer).established);
    lone.output();
    lone.get(&Packet { window: u16::MAX, ..Lone::packet("A", 0, 0, 0) });
    lone.write(16_000);
    assert_eq!(lone.packets().len(), 10, "the initial congestion window: ten segments");
}

/// A peer that knows all numbers and sends anything: nothing panics, memory and output stay bounded.
#[test]
fn nonsense_breaks_nothing() {
    for seed in super::transfer::seeds() {
        let mut random = Random::new(seed);
        let mut lone = if random.chance(100) { Lone::connecting() } else { Lone::open(random.chance(500)) };
        for _ in 0..300 {
            stir(&mut lone, &mut random);
            if lone.tcb.gone().is_some() {
                break;
            }
        }
        lone.tcb.release(&mut lone.budget);
        assert_eq!(lone.budget.used(), 0);
    }
}

/// One random event.
fn stir(lone: &mut Lone, random: &mut Random) {
    match random.below(12) {
        0 => drop(lone.tcb.write(&vec![0; random.below(40_000)], &mut lone.budget)),
        1 => drop(lone.read()),
        2 if random.chance(50) => lone.tcb.close(),
        3 => drop(lone.pass(random.below(2_000) as u64)),
        4 => lone.tcb.on_mtu(random.below(1500) as u16, lone.now()),
        5 => lone.tcb.trim(&mut lone.budget),
        _ => {
            let packet = nonsense(lone, random);
            lone.get(&packet);
        }
    }
    let flies: usize = lone.packets().iter().map(|packet| packet.payload.len()).sum();
    assert!(flies < 400_000, "{flies} {}", lone.tcb.picture());
}

fn nonsense(lone: &Lone, random: &mut Random) -> Packet {
    let near = |random: &mut Random, places: &[u32]| {
        let place = places[random.below(places.len())];
        place.wrapping_add(random.below(5) as u32 * random.below(1500) as u32).wrapping_sub(random.below(3) as u32)
    };
    let tcb = &lone.tcb;
    let seqs = [tcb.rcv_nxt, tcb.rcv_nxt, tcb.rcv_edge, IRS, random.u64() as u32];
    let acks = [tcb.snd_una, tcb.snd_nxt, tcb.snd_nxt, ISS, random.u64() as u32];
    let mut options = Vec::new();
    if random.chance(500) {
        options = vec![5, 2 + 8 * random.below(4) as u8];
        for _ in 0..random.below(7) {
            options.extend(near(random, &acks[..3]).to_be_bytes());
        }
    }
    let odd = [flag::SYN, flag::FIN, flag::RST, flag::FIN, flag::PSH][random.below(5)];
    Packet {
        seq: if random.chance(700) { tcb.rcv_nxt } else { near(random, &seqs) },
        ack: near(random, &acks),
        window: [0, 1, 500, 20_000, 65_535][random.below(5)],
        flags: if random.chance(950) { flag::ACK } else { 0 } | if random.chance(30) { odd } else { 0 },
        options,
        payload: vec![0; [0, 0, 1, 100, 1460, 9000][random.below(6)]],
    }
}
