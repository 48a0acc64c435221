//! Two connections transfer streams over channels of all kinds; what arrives is what was sent, in bounded time.

use super::{
    super::{Opened, Settings, Tcb},
    world::{Channel, Host, Plan, World, micros, settings},
};
use unikernel_rt::{sim::Random, time::Duration};

/// Two open connections.
pub(super) fn pair(settings: &Settings, isn: [u32; 2], sack: bool) -> [Tcb; 2] {
    let opened = |iss: u32, irs: u32| Opened {
        iss,
        irs,
        window: settings.syn_window().into(),
        mss: Some(settings.mss_in),
        peer_scale: Some(settings.own_scale()),
        own_scale: settings.own_scale(),
        sack,
        rtt: None,
    };
    let now = micros(1_000_000);
    [Tcb::established(settings, &opened(isn[0], isn[1]), now), Tcb::established(settings, &opened(isn[1], isn[0]), now)]
}

/// One transfer with everything chosen by the seed.
fn check(seed: u64) {
    let mut random = Random::new(seed);
    let mut below = |end: usize| random.below(end);
    let losses = [0, 100, 1000, 5000, 10_000, 20_000];
    let channel = Channel {
        delay: [50, 1_000, 20_000, 100_000][below(4)],
        jitter: [0, 0, 500, 30_000][below(4)],
        loss_per_100k: losses[below(losses.len())],
        dup_per_mille: [0, 0, 20, 200][below(4)],
        nanos_per_byte: [0, 80, 8, 8000][below(4)],
        queue_micros: [u64::MAX, 100_000, 1_000_000][below(3)],
    };
    let mss = [536, 1220, 1460, 8960][below(4)];
    let window_max = [1 << 22, 1 << 18, 65_535, 30_000, 4_000][below(5)];
    let settings = Settings { mss_in: mss, mss_out_max: mss, window_max, ..settings() };
    let mut plan = || Plan {
        send_len: [0, 1, 100, 5_000, 60_000, 300_000][below(6)],
        write_len: [1, 100, 1460, 10_000, 100_000][below(5)],
        read_len: [65_536, 65_536, 1000, 10][below(4)],
        read_pause: [0, 0, 0, 5_000][below(4)],
        closes_last: below(4) == 0,
        payload_max: [usize::from(mss), 65_000, 500][below(3)],
    };
    let mut plans = [plan(), plan()];
    plans[0].closes_last &= !plans[1].closes_last;
    for plan in &mut plans {
        plan.read_len = plan.read_len.max(if plan.read_pause > 0 { 1000 } else { 1 });
    }
    let isn = [[0, 1 << 31], [u32::MAX - 5000, u32::MAX - 100_000]][below(2)];
    let sack = below(3) > 0;
    let handshake = below(3);
    std::eprintln!("seed {seed}: {channel:?} mss {mss} window {window_max} sack {sack} {plans:?}");
    let [a, b] = match handshake {
        0 => pair(&settings, isn, sack),
        // Both open at once.
        _ => isn.map(|isn| Tcb::connect(&settings, isn, micros(1_000_000))),
    };
    let mut world = World::new(Host::new(a, plans[0], 1), Host::new(b, plans[1], 2), channel, seed);
    world.attacked = random.chance(250);
    let took = world.run(Duration::from_secs(1800));
    let sides =
        world.hosts.each_ref().map(|host| (host.packets, host.tcb.info().retransmits, host.tcb.info().timeouts));
    std::eprintln!("seed {seed} took {took:?}; packets, repeats, timeouts: {sides:?}");
}

/// So many seeds; `TCP_SEEDS=FROM-TO` runs others.
pub(super) fn seeds() -> core::ops::Range<u64> {
    let Ok(range) = std::env::var("TCP_SEEDS") else { return 0..1000 };
    let (from, to) = range.split_once('-').expect("TCP_SEEDS=FROM-TO");
    from.parse().expect("a number")..to.parse().expect("a number")
}

#[test]
fn streams_arrive_whole() {
    for seed in seeds() {
        check(seed);
    }
}
