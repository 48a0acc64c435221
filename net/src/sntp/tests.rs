//! A clock that follows scripted servers, in virtual time. At the start it shows 2026-01-01 00:00:00.

use super::Sntp;
use crate::dns::{
    Families, Resolver, Settings,
    tests::{
        messages::response,
        network::{Packet, Reply, Scripted},
    },
};
use core::{cell::RefCell, net::SocketAddr};
use std::{boxed::Box, format, rc::Rc, string::String, vec, vec::Vec};
use unikernel_rt::time::{Duration, Instant, sleep, unix_time};

const START: Duration = Duration::from_secs(1_767_225_600);

fn server(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 123))
}

/// What the servers do, and when they were asked, as `seconds server`.
struct World {
    /// What the true time is ahead of the clock of the machine as it was at boot.
    ahead_micros: RefCell<Box<dyn Fn(Instant) -> i64>>,
    log: RefCell<Vec<String>>,
}

impl World {
    fn new(ahead_micros: impl Fn(Instant) -> i64 + 'static) -> Rc<World> {
        Rc::new(World { ahead_micros: RefCell::new(Box::new(ahead_micros)), log: RefCell::default() })
    }

    fn true_time(&self, at: Instant) -> Duration {
        let plain = START.as_micros() as u64 + at.as_micros();
        Duration::from_micros(plain.saturating_add_signed(self.ahead_micros.borrow()(at)))
    }

    /// What the clock shows too much, in microseconds.
    fn error(&self) -> i64 {
        unix_time().as_micros() as i64 - self.true_time(Instant::now()).as_micros() as i64
    }

    fn note(&self, packet: &Packet<'_>) {
        let (seconds, server) = (Instant::now().as_micros() / 1_000_000, format!("{}", packet.server.ip()));
        self.log.borrow_mut().push(format!("{seconds} {}", server.rsplit('.').next().unwrap()));
    }

    /// A good answer, after `there` and `back` milliseconds on the way.
    fn answer(&self, packet: &Packet<'_>, there: u64, back: u64) -> Reply {
        let at = self.true_time(Instant::now() + Duration::from_millis(there));
        let seconds = (at.as_secs() + 2_208_988_800) as u32;
        let fraction = ((u64::from(at.subsec_nanos()) << 32) / 1_000_000_000) as u32;
        let mut bytes = vec![0; 48];
        bytes[..2].copy_from_slice(&[0x24, 2]);
        bytes[24..32].copy_from_slice(&packet.bytes[40..48]);
        for place in [32, 40] {
            bytes[place..place + 4].copy_from_slice(&seconds.to_be_bytes());
            bytes[place + 4..place + 8].copy_from_slice(&fraction.to_be_bytes());
        }
        Reply::now(packet.server, bytes).after(there + back)
    }
}

/// A server that refuses, in the words of `code`.
fn kiss(mut reply: Reply, code: &[u8; 4]) -> Reply {
    reply.bytes[1] = 0;
    reply.bytes[12..16].copy_from_slice(code);
    reply
}

/// Starts a client of two servers that follow `script`.
fn start(world: &Rc<World>, script: impl Fn(&World, &Packet<'_>) -> Vec<Reply> + 'static) -> Rc<Sntp<Scripted>> {
    let ours = world.clone();
    let network = Scripted::raw(move |packet| {
        ours.note(&packet);
        assert_eq!((packet.bytes.len(), packet.bytes[0]), (48, 0x23));
        assert!(packet.bytes[1..40].iter().all(|byte| *byte == 0), "a request tells nothing");
        script(&ours, &packet)
    });
    follow(network, &["10.0.0.1", "10.0.0.2"])
}

fn follow(network: Scripted, servers: &[&str]) -> Rc<Sntp<Scripted>> {
    let resolver = Resolver::new(network.clone());
    resolver.configure(Settings::new([SocketAddr::from(([10, 0, 0, 53], 53))], []));
    let sntp = Rc::new(Sntp::new(network, resolver));
    sntp.configure(servers.iter().copied());
    let running = sntp.clone();
    unikernel_rt::spawn(async move { running.run(|| Families { v4: true, v6: false }).await });
    sntp
}

async fn wait_until(secs: u64) {
    sleep(Duration::from_secs(secs) - (Instant::now() - Instant::from_micros(0))).await;
}

#[unikernel_rt::test]
async fn the_clock_is_set_and_followed() {
    let world = World::new(|_| 3_600_500_000);
    start(&world, |world, packet| vec![world.answer(packet, 10, 10)]);
    wait_until(1).await;
    assert_eq!(world.error(), -3_600_500_000, "one measurement is not enough");
    wait_until(7).await;
    assert!(world.error().abs() <= 1, "{}", world.error());
    wait_until(5000).await;
    assert!(world.error().abs() <= 1, "{}", world.error());
    let asked = world.log.borrow().join(", ");
    assert_eq!(asked, "0 1, 2 1, 4 1, 6 1, 70 1, 198 1, 454 1, 966 1, 1990 1, 3014 1, 4038 1");
}

#[unikernel_rt::test]
async fn the_shortest_way_counts() {
    let world = World::new(|_| 7_000_000);
    start(&world, |world, packet| match Instant::now().as_micros() / 1_000_000 {
        0 => vec![world.answer(packet, 300, 10)],
        2 => vec![world.answer(packet, 10, 12)],
        _ => vec![world.answer(packet, 10, 500)],
    });
    wait_until(8).await;
    // The two ways differ by 2 ms, which nobody can know.
    assert!((world.error() + 1000).abs() <= 2, "{}", world.error());
}

#[unikernel_rt::test]
async fn a_clock_that_drifts_is_held() {
    // The true time runs 50 millionths faster than the machine's clock.
    let world = World::new(|now| (now.as_micros() / 20_000) as i64);
    start(&world, |world, packet| vec![world.answer(packet, 5, 5)]);
    wait_until(100).await;
    let mut worst = 0;
    for secs in 100..20_000 {
        wait_until(secs).await;
        worst = worst.max(world.error().abs());
    }
    // 512 s of drift are 26 ms.
    assert!(worst < 30_000, "{worst}");
}

#[unikernel_rt::test]
async fn a_machine_that_was_stopped_steps_once_several_answers_agree() {
    let world = World::new(|_| 0);
    start(&world, |world, packet| vec![world.answer(packet, 5, 5)]);
    wait_until(600).await;
    let before = Instant::now();
    *world.ahead_micros.borrow_mut() = Box::new(|_| 7_200_000_000);
    // The next measurements are at 966, 968, 970 and 972 s.
    wait_until(971).await;
    assert!((world.error() + 7_200_000_000).abs() <= 1, "{}", world.error());
    wait_until(973).await;
    assert!(world.error().abs() <= 1, "{}", world.error());
    assert_eq!(Instant::now() - before, Duration::from_secs(373), "the monotonic clock does not step");
}

#[unikernel_rt::test]
async fn one_wrong_answer_changes_nothing() {
    let world = World::new(|_| 0);
    start(&world, |world, packet| {
        let mut answer = world.answer(packet, 5, 5);
        if Instant::now().as_micros() / 1_000_000 == 70 {
            answer.bytes[33] += 1;
            answer.bytes[41] += 1;
        }
        vec![answer]
    });
    for secs in 0..1000 {
        wait_until(secs).await;
        assert!(world.error().abs() <= 1, "{} at {secs} s", world.error());
    }
}

#[unikernel_rt::test]
async fn the_second_server_is_asked_when_the_first_is_silent() {
    let world = World::new(|_| 1_000_000);
    start(&world, |world, packet| match packet.server == server(2) {
        true => vec![world.answer(packet, 5, 5)],
        false => vec![],
    });
    wait_until(20).await;
    assert!(world.error().abs() <= 1);
    assert_eq!(world.log.borrow().join(", "), "0 1, 5 2, 7 2, 9 2, 11 2");
}

#[unikernel_rt::test]
async fn silent_servers_are_asked_with_patience() {
    let world = World::new(|_| 1_000_000);
    start(&world, |_, _| vec![]);
    wait_until(700).await;
    assert_eq!(world.log.borrow().join(", "), "0 1, 5 2, 72 1, 139 2, 270 1, 401 2, 660 1");
    assert_eq!(world.error(), -1_000_000);
}

#[unikernel_rt::test]
async fn answers_that_are_none_do_not_count() {
    let world = World::new(|_| 1_000_000);
    start(&world, |world, packet| {
        let wrong = |change: &dyn Fn(&mut Reply)| {
            let mut reply = world.answer(packet, 0, 1);
            reply.bytes[33] += 1;
            reply.bytes[41] += 1;
            change(&mut reply);
            reply
        };
        vec![
            wrong(&|reply| reply.from = server(66)),
            wrong(&|reply| reply.from.set_port(124)),
            wrong(&|reply| reply.bytes[30] ^= 1),
            wrong(&|reply| reply.bytes[24..32].fill(0)),
            wrong(&|reply| reply.bytes[0] = 0x23),
            wrong(&|reply| reply.bytes.truncate(47)),
            kiss(wrong(&|reply| reply.bytes[30] ^= 1), b"DENY"),
            world.answer(packet, 5, 5),
            // Twice, and late.
            wrong(&|reply| reply.after = Duration::from_millis(20)),
        ]
    });
    wait_until(7).await;
    assert!(world.error().abs() <= 1, "{}", world.error());
}

#[unikernel_rt::test]
async fn servers_without_a_time_are_left_for_others() {
    for (place, value) in [(0, 0xe4), (1, 16), (9, 6), (32, 0xdf)] {
        let world = World::new(|_| 1_000_000);
        start(&world, move |world, packet| {
            let mut answer = world.answer(packet, 5, 5);
            if packet.server == server(1) {
                answer.bytes[place] = value;
            }
            vec![answer]
        });
        sleep(Duration::from_secs(20)).await;
        assert!(world.log.borrow()[1..].iter().all(|text| text.ends_with(" 2")), "{:?}", world.log.borrow());
        unikernel_rt::time::set_unix_time(START + (Instant::now() - Instant::from_micros(0)));
    }
}

#[unikernel_rt::test]
async fn a_server_that_denies_is_never_asked_again() {
    let world = World::new(|_| 1_000_000);
    let sntp = start(&world, |world, packet| match packet.server == server(1) {
        true => vec![kiss(world.answer(packet, 5, 5), b"DENY")],
        false => vec![],
    });
    wait_until(3000).await;
    assert_eq!(world.log.borrow().iter().filter(|text| text.ends_with(" 1")).count(), 1);
    sntp.configure(["10.0.0.1"]);
    wait_until(10_000).await;
    assert_eq!(world.log.borrow().last().unwrap(), "3000 1", "nobody is left to be asked");
    sntp.configure(["10.0.0.2"]);
    wait_until(10_001).await;
    assert_eq!(world.log.borrow().last().unwrap(), "10000 2");
}

#[unikernel_rt::test]
async fn a_server_that_is_asked_too_often_is_asked_less() {
    let world = World::new(|_| 1_000_000);
    let sntp = start(&world, |world, packet| match Instant::now().as_micros() / 1_000_000 {
        0..1000 => vec![kiss(world.answer(packet, 5, 5), b"RATE")],
        _ => vec![world.answer(packet, 5, 5)],
    });
    sntp.configure(["10.0.0.1"]);
    wait_until(3500).await;
    assert_eq!(world.log.borrow().join(", "), "0 1, 128 1, 384 1, 896 1, 1920 1, 2944 1");
    assert!(world.error().abs() <= 1, "one answer must do");
}

#[unikernel_rt::test]
async fn servers_have_names_too() {
    let world = World::new(|_| 1_000_000);
    let ours = world.clone();
    let network = Scripted::raw(move |packet| match packet.server.port() {
        53 => {
            let (id, question, _) = crate::dns::tests::messages::parse_question(packet.bytes);
            vec![Reply::now(packet.server, response(id, 0, &question, "^ A 3600 10.0.0.9"))]
        }
        _ => {
            ours.note(&packet);
            vec![ours.answer(&packet, 5, 5)]
        }
    });
    follow(network, &["time.example"]);
    wait_until(7).await;
    assert!(world.error().abs() <= 1);
    assert_eq!(world.log.borrow().join(", "), "0 9, 2 9, 4 9, 6 9");
}
