//! When segments go: retransmission, probes, delayed acknowledgements, windows. Numbers in milliseconds.

use super::transfer::pair;
use super::{
    super::{Gone, Settings, State},
    lone::Lone,
    world::{Channel, Host, Packet, Plan, World, settings},
};
use unikernel_rt::time::{Duration, Instant};

#[test]
fn a_lost_segment_is_sent_again_more_and_more_slowly() {
    let mut lone = Lone::open(true);
    lone.write(500);
    assert_eq!(lone.output(), "0+500");
    let start = lone.now;
    let mut at = std::vec::Vec::new();
    while at.len() < 11 {
        if !lone.pass(10).is_empty() {
            at.push((lone.now - start) / 1000);
        }
    }
    // 10 ms of round trip and 200 ms, doubled each time, up to 60 s.
    assert_eq!(at, [210, 630, 1470, 3150, 6510, 13230, 26670, 53550, 107310, 167310, 227310]);
    assert_eq!(lone.tcb.info().timeouts, 11);
}

#[test]
fn the_user_timeout_ends_it() {
    let limit = Some(Duration::from_secs(5));
    let mut lone = Lone::open_with(&Settings { user_timeout: limit, ..settings() }, true);
    lone.write(500);
    lone.output();
    lone.pass(4_900);
    assert!(lone.is_open());
    lone.pass(10_000);
    assert_eq!(lone.tcb.gone(), Some(Gone::TimedOut));
}

#[test]
fn a_closed_window_is_probed_as_long_as_the_peer_answers() {
    let limit = Some(Duration::from_secs(30));
    let mut lone = Lone::open_with(&Settings { user_timeout: limit, ..settings() }, true);
    lone.hear_window(0, 0);
    lone.write(500);
    assert_eq!(lone.output(), "");
    for _ in 0..1_000 {
        if !lone.pass(1_000).is_empty() {
            lone.hear_window(0, 0);
        }
    }
    assert!(lone.is_open());
    lone.pass(100_000);
    assert_eq!(lone.tcb.gone(), Some(Gone::TimedOut), "it answers no more");
}

#[test]
fn a_window_that_opens_is_used_at_once() {
    let mut lone = Lone::open(true);
    lone.hear_window(0, 0);
    lone.write(1500);
    assert_eq!(lone.output(), "");
    assert_eq!(lone.pass(10_000).split(' ').next(), Some("-1+0"));
    lone.hear_window(0, 1000);
    assert_eq!(lone.output(), "0+1000");
    lone.hear_window(1000, 1000);
    assert_eq!(lone.output(), "1000+500");
}

/// What killed connections on another engine: the peer takes its window back over data that is lost.
#[test]
fn a_window_that_closes_over_lost_data() {
    let limit = Some(Duration::from_secs(30));
    let mut lone = Lone::open_with(&Settings { user_timeout: limit, ..settings() }, true);
    lone.write(3000);
    assert_eq!(lone.output(), "0+1000 1000+1000 2000+1000");
    lone.hear_window(0, 0);
    for _ in 0..200 {
        if !lone.pass(1_000).is_empty() {
            lone.hear_window(0, 0);
        }
    }
    assert!(lone.is_open());
    lone.hear_window(0, 5000);
    assert_eq!(lone.output(), "0+1000");
    lone.hear_window(1000, 5000);
    assert_eq!(lone.output(), "1000+1000 2000+1000");
}

#[test]
fn acknowledgements_stay_within_a_window_that_went_back() {
    let mut lone = Lone::open(true);
    lone.write(3000);
    lone.output();
    lone.hear_window(0, 1500);
    lone.get(&Packet { window: 1500, ..Lone::packet("A", 0, 0, 3000) });
    assert_eq!(lone.output(), "1500+0");
}

#[test]
fn a_silly_window_is_not_filled_at_once() {
    let mut lone = Lone::open(true);
    lone.write(5000);
    lone.hear_window(0, 600);
    assert_eq!(lone.output(), "");
    assert_eq!(lone.pass(300), "0+600", "the persist timer fills it in the end");
}

#[test]
fn small_segments_wait_only_if_asked_to() {
    for (nodelay, expected) in [(true, "0+10 10+10"), (false, "0+10")] {
        let mut lone = Lone::open(true);
        lone.tcb.set_nodelay(nodelay);
        lone.write(10);
        let first = lone.output();
        lone.write(10);
        let second = lone.output();
        assert_eq!(std::format!("{first} {second}").trim(), expected);
        lone.hear("A", 0, 10, 0);
        assert_eq!(lone.output(), if nodelay { "" } else { "10+10" });
    }
}

#[test]
fn an_acknowledgement_waits_for_data_to_go_along() {
    let mut lone = Lone::open(true);
    lone.hear("PA", 0, 0, 100);
    assert_eq!(lone.output(), "");
    assert_eq!((lone.pass(39), lone.pass(1)), ("".into(), "0+0".into()));
    lone.hear("PA", 100, 0, 100);
    lone.write(50);
    assert_eq!(lone.output(), "0+50");
    assert_eq!(lone.pass(100), "");
}

#[test]
fn every_second_full_segment_is_acknowledged() {
    let mut lone = Lone::open(true);
    for n in 0..10 {
        lone.hear("A", n * 1000, 0, 1000);
        assert_eq!(lone.output(), if n % 2 == 0 { "" } else { "0+0" }, "after {n}");
    }
}

#[test]
fn gaps_are_reported_at_once() {
    let mut lone = Lone::open(true);
    for (seq, blocks) in [(1000, 1), (3000, 2), (5000, 3), (7000, 3), (2000, 3), (0, 2)] {
        lone.hear("A", seq, 0, 1000);
        let packets = lone.packets();
        assert_eq!(packets.len(), 1);
        assert_eq!(packets[0].options.len(), if blocks == 0 { 0 } else { 4 + 8 * blocks }, "after {seq}");
    }
}

#[test]
fn an_update_tells_that_the_window_is_open_again() {
    let mut lone = Lone::open(true);
    for n in 0..16 {
        lone.hear("A", n * 1024, 0, 1024);
        lone.output();
    }
    lone.hear("A", 16_384, 0, 1);
    let closed = lone.packets();
    assert_eq!((closed.len(), closed[0].window), (1, 0));
    assert_eq!(lone.read(), 16_384);
    let opened = lone.packets();
    assert_eq!((opened.len(), opened[0].window), (1, 16_384));
}

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let mut lone = Lone::open(true);
    lone.tcb.set_keep_alive(Some(Duration::from_secs(10)), lone.now());
    assert_eq!(lone.pass(9_999), "");
    assert_eq!(lone.pass(1), "-1+0");
    lone.hear("A", 0, 0, 0);
    assert_eq!(lone.pass(10_000), "-1+0");
    assert_eq!(lone.pass(29_000), "-1+0 -1+0");
    assert!(lone.is_open());
    lone.pass(1_000);
    assert_eq!(lone.tcb.gone(), Some(Gone::TimedOut));
}

#[test]
fn three_acknowledgements_of_the_same_send_again() {
    for sack in [true, false] {
        let mut lone = Lone::open(sack);
        lone.write(8000);
        lone.output();
        for n in 1..=3 {
            if sack {
                lone.hear_sack(0, &[(1000, 1000 + n * 1000)])
            } else {
                lone.hear("A", 0, 0, 0)
            };
            assert_eq!(lone.output().starts_with("0+1000"), n == 3, "after {n}");
        }
        lone.hear("A", 0, 8000, 0);
        assert_eq!((lone.tcb.info().retransmits, lone.tcb.info().timeouts), (1, 0));
        assert_eq!(lone.tcb.state(), State::Established);
    }
}

#[test]
fn several_holes_are_filled_in_one_round_trip() {
    let mut lone = Lone::open(true);
    lone.write(10_000);
    lone.output();
    lone.hear_sack(0, &[(1000, 2000), (3000, 4000), (6000, 9000)]);
    assert_eq!(lone.output(), "0+1000 2000+1000 4000+1000 5000+1000");
}

#[test]
fn a_lost_tail_is_probed_before_the_timeout() {
    let mut lone = Lone::open(true);
    lone.write(3000);
    lone.output();
    assert_eq!(lone.pass(20), "2000+1000", "after two round trips");
    lone.hear_sack(0, &[(2000, 3000)]);
    assert_eq!(lone.output(), "0+1000 1000+1000");
    lone.hear("A", 0, 3000, 0);
    assert_eq!(lone.tcb.info().timeouts, 0);
}

#[test]
fn a_smaller_path_sends_again_in_smaller_pieces() {
    let mut lone = Lone::open(true);
    lone.write(3000);
    lone.output();
    lone.tcb.on_mtu(600, lone.now());
    assert_eq!(lone.output(), "0+600 600+600 1200+600 1800+600 2400+600");
}

#[test]
fn an_early_timer_moves_nothing() {
    let mut lone = Lone::open(true);
    lone.write(500);
    lone.output();
    let moment = lone.tcb.next_moment();
    for _ in 0..20 {
        lone.now += 5_000;
        lone.hear("A", 0, 500, 0);
        lone.tcb.on_time(lone.now());
        assert_eq!(lone.tcb.next_moment(), moment, "it stays until it comes");
    }
    assert_eq!(lone.pass(10_000), "");
    assert_eq!(lone.tcb.next_moment(), Instant::FOREVER);
}

#[test]
fn an_idle_connection_frees_its_buffers() {
    let mut lone = Lone::open(true);
    lone.write(10_000);
    lone.output();
    lone.hear("A", 0, 10_000, 0);
    assert!(lone.tcb.has_large_buffers());
    lone.pass(2_500);
    assert!(!lone.tcb.has_large_buffers());
    lone.tcb.trim(&mut lone.budget);
    assert_eq!((lone.tcb.rx.capacity(), lone.tcb.tx.capacity(), lone.budget.used()), (0, 0, 0));
    assert!(size_of_val(&lone.tcb) <= 320, "{} bytes", size_of_val(&lone.tcb));
}

/// Bytes per second over a path of 100 Mbit/s and 100 ms that loses so many of 100,000 packets.
fn throughput(loss_per_100k: usize, seed: u64) -> u64 {
    let len = 24 << 20;
    let plan = Plan { payload_max: 65_000, ..Plan::default() };
    let [a, b] = pair(&settings(), [1, 2], true);
    let a = Host::new(a, Plan { send_len: len, ..plan }, 0);
    let b = Host::new(b, Plan { closes_last: true, ..plan }, 0);
    let channel = Channel { nanos_per_byte: 80, queue_micros: 100_000, loss_per_100k, ..Channel::clean(50_000) };
    let mut world = World::new(a, b, channel, seed);
    let took = world.run(Duration::from_secs(600));
    std::eprintln!("{loss_per_100k}: {took:?} {:?} {}", world.hosts[0].tcb.info(), world.hosts[0].packets);
    len as u64 * 1_000_000 / took.as_micros() as u64
}

/// 12.5 MB/s less headers is what the path carries. The queue overflows once, at the end of slow start.
#[test]
fn a_long_fat_path_is_filled() {
    let reached = throughput(0, 1);
    assert!(reached >= 7_500_000, "{reached} bytes per second");
}

/// In the long run a loss of 0.01 % holds CUBIC at 187 segments in flight here, 2.7 MB/s (RFC 9438, 5.1); 24 MiB meet
/// two losses on average.
#[test]
fn few_losses_cost_little() {
    let reached: u64 = (1..=4).map(|seed| throughput(10, seed)).sum();
    assert!(reached / 4 >= 7_500_000, "{} bytes per second", reached / 4);
}
