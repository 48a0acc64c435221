//! Listings of the page "Limits under attack", and the numbers that the pages name.

use core::time::Duration;
use unikernel_net::{Config, Stack, limits};
use unikernel_rt::log::info;

/// Bounds in the program instead of boot arguments.
// ANCHOR: bounds
pub fn config() -> Config {
    let bounds = limits::Bounds { connections: Some(2000), half_open: Some(256), ..limits::Bounds::default() };
    Config { bounds, ..Config::default() }
}
// ANCHOR_END: bounds

/// What the stack has thrown away.
// ANCHOR: stats
pub fn report(stack: &Stack) {
    let stats = stack.stats();
    info!("{} connections, {} half-open", stats.flows as u64, stats.by_state.half_open as u64);
    info!("{} cookies, {} refused for want of memory", stats.cookies, stats.drops.memory);
}
// ANCHOR_END: stats

// What the pages say in words. A number that changes does not compile until the page is looked at, too.
const _: () = {
    assert!(limits::HALF_OPEN_MAX == 1024);
    assert!(limits::BACKLOG == 1024);
    assert!(limits::PER_SOURCE_PERCENT == 90);
    assert!(limits::LOW_MEMORY_PERCENT == 5);
    assert!(limits::LOW_MEMORY_MIN == 64 * 1024);
    assert!(limits::COMPLAINTS_PER_SECOND == 1000);
    assert!(limits::CONNECTION_COST == 10 * 1024);
    assert!(limits::FRAGMENTED_MAX == 16);
    assert!(limits::FRAGMENTS_MAX == 64);
    assert!(limits::TIME_WAIT_MAX == 8192);
    assert!(limits::RECEIVE_WINDOW_MAX == 4 << 20);
    assert!(limits::SEND_BUFFER_MAX == 4 << 20);
    assert!(limits::DATAGRAMS_MAX == 256);
    assert!(limits::DATAGRAM_MEMORY_MAX == 256 * 1024);
    assert!(limits::ORPHAN_DISCARD_LEN_MAX == 256 * 1024);
    assert!(limits::dns::CACHE_ENTRIES_MAX == 512);
    assert!(limits::dns::NDOTS == 1);
    assert!(limits::dns::UDP_ANSWER_LEN_MAX == 1232);
    assert!(is(limits::FRAGMENT_TIME_MAX, 15_000));
    assert!(is(limits::TIME_WAIT, 10_000));
    assert!(is(limits::USER_TIMEOUT, 120_000));
    assert!(is(limits::ORPHAN_TIME_MAX, 60_000));
    assert!(is(limits::ORPHAN_LIFE_MAX, 600_000));
    assert!(is(limits::CONNECT_TIME_MAX, 30_000));
    assert!(is(limits::CONFIGURE_TIME_MAX, 10_000));
    assert!(is(limits::ATTEMPT_DELAY, 250));
    assert!(is(limits::dns::LOOKUP_TIME_MAX, 30_000));
    assert!(is(limits::dns::NEGATIVE_TTL_MAX, 300_000));
    assert!(is(limits::dns::TTL_MAX, 86_400_000));
    assert!(limits::sntp::STEP_MICROS == 128_000);
    assert!(unikernel_tls::limits::HANDSHAKES_MAX == 256);
    assert!(is(unikernel_tls::limits::HANDSHAKE_TIMEOUT, 10_000));
    assert!(is(unikernel_tls::limits::TICKET_KEY_LIFETIME, 6 * 3_600_000));
    assert!(unikernel_tls::limits::SERVER_SESSIONS_MAX == 1024);
};

const fn is(time: Duration, millis: u128) -> bool {
    time.as_millis() == millis
}
