//! Opening and closing, row by row (RFC 9293, 3.5, 3.6, 3.10).

use super::{
    super::{Gone, Payload, ReadResult, Segment, Settings, State, Tcb, WriteResult},
    lone::{Lone, syn_options},
    world::{Channel, Host, Packet, Plan, World, byte, micros, settings},
};
use unikernel_rt::{device::Frame, time::Duration};

fn syn_ack() -> Packet {
    Packet { options: syn_options(1000, Some(7), true), ..Lone::packet("SA", -1, 0, 0) }
}

#[test]
fn a_connection_opens() {
    let mut lone = Lone::connecting();
    let outcome = lone.get(&syn_ack());
    assert!(outcome.established && outcome.writable && !outcome.closed);
    assert_eq!((lone.tcb.state(), lone.output().as_str()), (State::Established, "0+0"));
}

#[test]
fn a_refusal_must_acknowledge_the_syn() {
    for (flags, ack, gone) in [("RA", 0, Some(Gone::Reset)), ("RA", 1, None), ("RA", -1, None), ("R", 0, None)] {
        let mut lone = Lone::connecting();
        let outcome = lone.hear(flags, 0, ack, 0);
        assert_eq!((lone.tcb.gone(), outcome.closed), (gone, gone.is_some()), "{flags} {ack}");
        assert_eq!(lone.output(), "");
    }
}

/// The peer still has an old connection: the reset clears it, and the next SYN opens ours.
#[test]
fn an_old_connection_of_the_peers_is_reset() {
    for flags in ["A", "SA"] {
        let mut lone = Lone::connecting();
        lone.hear(flags, 0, 5000, 0);
        assert_eq!((lone.tcb.state(), lone.output().as_str()), (State::SynSent, "5000+0 R"));
        assert_eq!(lone.pass(1_000), "-1+0 S");
        assert!(lone.get(&syn_ack()).established);
    }
}

#[test]
fn a_syn_is_sent_again_with_patience() {
    let mut lone = Lone::connecting();
    let sent = (1..=40).filter(|_| !lone.pass(1_000).is_empty());
    let sent: std::vec::Vec<u64> = sent.collect();
    assert_eq!(sent, [1, 3, 7, 15, 31]);
}

#[test]
fn nobody_answers() {
    let settings = Settings { user_timeout: Some(Duration::from_secs(10)), ..settings() };
    let mut tcb = Tcb::connect(&settings, 0, micros(0));
    let mut now = micros(0);
    while tcb.gone().is_none() {
        tcb.next_segment(1460, now);
        now = tcb.next_moment();
        tcb.on_time(now);
    }
    assert_eq!((tcb.gone(), now), (Some(Gone::TimedOut), micros(15_000_000)));
}

#[test]
fn both_open_at_once() {
    let mut lone = Lone::connecting();
    let syn = Packet { flags: 2, ..syn_ack() };
    assert!(!lone.get(&syn).established);
    assert_eq!((lone.tcb.state(), lone.output().as_str()), (State::SynReceived, "-1+0 S"));
    assert!(lone.get(&syn_ack()).established);
    assert_eq!(lone.output(), "0+0");
}

#[test]
fn both_open_at_once_and_the_answer_is_lost() {
    let mut lone = Lone::connecting();
    lone.get(&Packet { flags: 2, ..syn_ack() });
    lone.output();
    assert_eq!(lone.pass(1_000), "-1+0 S");
    assert!(lone.hear("A", 0, 0, 10).established);
    assert_eq!(lone.read(), 10);
}

/// Closes in an order: `u`s: the user closes, `a`: the peer acknowledges our FIN, `f`: its FIN, `b`: its FIN and that
/// acknowledgement. Which states that goes through.
fn check_close(events: &str, expected: &[State]) {
    let (mut lone, mut acked, mut finished) = (Lone::open(true), 0, 0);
    let states: std::vec::Vec<State> = events
        .chars()
        .map(|event| {
            let (flags, ack) = match event {
                'u' => {
                    lone.tcb.close();
                    lone.output();
                    return lone.tcb.state();
                }
                'a' => ("A", 1),
                'f' => ("FA", acked),
                'b' => ("FA", 1),
                _ => panic!("no such event"),
            };
            let outcome = lone.hear(flags, finished, ack, 0);
            acked = ack;
            finished += i64::from(flags == "FA");
            let ends = matches!(lone.tcb.state(), State::TimeWait | State::Closed);
            assert_eq!(outcome.closed, ends);
            assert_eq!(lone.output() == "", flags == "A", "a FIN is acknowledged at once");
            lone.tcb.state()
        })
        .collect();
    assert_eq!(states, expected, "{events}");
}

#[test]
fn closing_goes_through_the_states() {
    use State::*;
    check_close("uaf", &[FinWait1, FinWait2, TimeWait]);
    check_close("ub", &[FinWait1, TimeWait]);
    check_close("ufa", &[FinWait1, Closing, TimeWait]);
    check_close("fua", &[CloseWait, LastAck, Closed]);
}

#[test]
fn after_our_fin_the_peer_may_go_on() {
    let mut lone = Lone::open(true);
    lone.tcb.close();
    assert_eq!(lone.output(), "0+0 F");
    lone.hear("A", 0, 1, 500);
    assert_eq!((lone.tcb.state(), lone.read()), (State::FinWait2, 500));
    assert_eq!(lone.tcb.write(b"x", &mut lone.budget), WriteResult::Closed);
}

#[test]
fn after_the_peers_fin_we_may_go_on() {
    let mut lone = Lone::open(true);
    lone.hear("FA", 0, 0, 10);
    assert_eq!((lone.read(), lone.tcb.read(&mut [0; 9])), (10, ReadResult::Finished));
    lone.output();
    lone.write(2500);
    assert_eq!(lone.output(), "0+1000 1000+1000 2000+500");
    lone.hear("A", 11, 2500, 0);
    assert_eq!((lone.tcb.state(), lone.tcb.unacknowledged_len()), (State::CloseWait, 0));
}

#[test]
fn a_fin_goes_along_with_the_last_data_and_is_sent_again() {
    let mut lone = Lone::open(true);
    lone.write(1500);
    lone.tcb.close();
    assert_eq!(lone.output(), "0+1000 1000+500 F");
    lone.hear("A", 0, 1500, 0);
    assert_eq!(lone.pass(1_000), "1500+0 F 1500+0 F");
    lone.hear("A", 0, 1501, 0);
    assert_eq!((lone.tcb.state(), lone.pass(100_000).as_str()), (State::FinWait2, ""));
}

#[test]
fn a_fin_waits_for_the_window() {
    let mut lone = Lone::open(true);
    lone.hear_window(0, 0);
    lone.tcb.close();
    assert_eq!(lone.output(), "");
    assert!(lone.pass(3_000).starts_with("-1+0 -1+0"));
    lone.hear_window(0, 1);
    assert_eq!(lone.output(), "0+0 F");
}

#[test]
fn a_fin_ahead_of_a_gap_waits_for_it() {
    let mut lone = Lone::open(true);
    lone.hear("FA", 100, 0, 50);
    assert_eq!((lone.tcb.state(), lone.output().as_str()), (State::Established, "0+0"));
    lone.hear("A", 0, 0, 100);
    assert_eq!((lone.tcb.state(), lone.read()), (State::CloseWait, 150));
    lone.hear("FA", 100, 0, 50);
    assert_eq!((lone.output().as_str(), lone.tcb.read(&mut [0])), ("0+0", ReadResult::Finished));
}

#[test]
fn the_last_fin_is_acknowledged_again() {
    let mut lone = Lone::open(true);
    lone.tcb.close();
    lone.output();
    lone.hear("FA", 0, 1, 0);
    assert_eq!((lone.tcb.state(), lone.output().as_str()), (State::TimeWait, "1+0"));
    lone.hear("FA", 0, 1, 0);
    assert_eq!(lone.output(), "1+0");
    assert_eq!(lone.tcb.gone(), Some(Gone::Finished));
}

#[test]
fn a_reset_leaves_what_was_received() {
    let mut lone = Lone::open(true);
    lone.hear("A", 0, 0, 100);
    assert!(lone.hear("R", 100, 0, 0).closed);
    assert_eq!((lone.read(), lone.tcb.read(&mut [0])), (100, ReadResult::Gone(Gone::Reset)));
    assert_eq!(lone.tcb.write(b"x", &mut lone.budget), WriteResult::Gone(Gone::Reset));
}

#[test]
fn an_abort_resets_the_peer() {
    let mut lone = Lone::open(true);
    lone.write(100);
    lone.output();
    let reset = lone.tcb.abort().expect("there is a peer");
    assert_eq!((reset.flags, reset.seq), (4 | 16, lone.tcb.snd_nxt()));
    assert_eq!((lone.tcb.gone(), lone.tcb.abort()), (Some(Gone::Aborted), None));
    assert_eq!((lone.tcb.next_moment(), lone.tcb.has_output()), (unikernel_rt::time::Instant::FOREVER, false));
    assert!(Lone::connecting().tcb.abort().is_none());
}

/// A reset at every point of a transfer ends it on both sides in bounded time, and nothing stays reserved.
#[test]
fn a_reset_anywhere() {
    for steps in 0..120 {
        let tcbs = [0, 77].map(|iss| Tcb::connect(&settings(), iss, micros(1_000_000)));
        let plan = Plan { send_len: 40_000, ..Plan::default() };
        let [a, b] = tcbs.map(|tcb| Host::new(tcb, plan, 3));
        let channel = Channel { loss_per_100k: 5000, jitter: 2_000, ..Channel::clean(5_000) };
        let mut world = World::new(a, b, channel, steps);
        for _ in 0..steps {
            world.step();
        }
        let Some(reset) = world.hosts[0].tcb.abort() else { continue };
        let packet = Packet::split(&world.hosts[0].tcb, &reset).remove(0);
        let exact = packet.seq == world.hosts[1].tcb.rcv_nxt();
        let host = &mut world.hosts[1];
        host.tcb.on_segment(&packet.segment(), micros(world.now), &mut host.budget);
        assert!(!exact || host.tcb.gone().is_some(), "{}", world.picture());
        for host in &mut world.hosts {
            host.tcb.release(&mut host.budget);
            assert_eq!(host.budget.used(), 0);
        }
    }
}

/// Data in several buffers, with padding after it, in order and ahead of a gap.
#[unikernel_rt::test]
async fn data_may_come_in_pieces() {
    let data: std::vec::Vec<u8> = (0..6_000).map(|place| byte(9, place)).collect();
    let rest: std::vec::Vec<Frame> = [&data[4_000..5_000], &data[5_000..], b"pad"].map(Frame::from_bytes).into();
    let mut lone = Lone::open(true);
    let packet = Lone::packet("A", 3_000, 0, 0);
    let payload = Payload { first: &data[3_000..4_000], rest: &rest, len: 3_000 };
    lone.tcb.on_segment(&Segment { payload, ..packet.segment() }, lone.now(), &mut lone.budget);
    let packet = Lone::packet("A", 0, 0, 0);
    let early: std::vec::Vec<Frame> = [&data[1_000..2_500], &data[2_500..3_700]].map(Frame::from_bytes).into();
    let payload = Payload { first: &data[..1_000], rest: &early, len: 3_700 };
    lone.tcb.on_segment(&Segment { payload, ..packet.segment() }, lone.now(), &mut lone.budget);
    let mut got = std::vec![0; 7_000];
    assert_eq!(lone.tcb.read(&mut got), ReadResult::Data(6_000));
    assert_eq!(got[..6_000], data);
}
