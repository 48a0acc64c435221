//! What a packet costs does not depend on how many connections there are, and what a connection costs is known.

mod common;
use common::*;
use unikernel_net::{Config, Read, Stack, Stats, Stream, Write, limits};
use unikernel_rt::sim::Faults;

const ROUNDS: u64 = 100;

/// Looks at flows and steps in the timer queue for [`ROUNDS`] round trips of one connection among `others`.
async fn work(others: usize) -> (u64, u64) {
    let faults = Faults { queue: 1 << 20, ..Faults::NONE };
    let (client, server) = stacks_with(faults, Config { backlog: 1 << 20, ..fixed(SERVER) });
    serve_echo(&server, 7);
    let mut streams = Vec::new();
    for _ in 0..others {
        streams.push(client.connect(at(7)).await.unwrap());
    }
    let mut stream = client.connect(at(7)).await.unwrap();
    round(&mut stream).await;
    let before = server.stats();
    for _ in 0..ROUNDS {
        round(&mut stream).await;
    }
    let after = server.stats();
    assert_eq!(after.flows, others + 1);
    assert_eq!(after.frames_in - before.frames_in, ROUNDS);
    let work = |stats: Stats| (stats.flow_polls, stats.timer_steps);
    drop((streams, stream));
    settled(&[&client, &server]).await;
    (work(after).0 - work(before).0, work(after).1 - work(before).1)
}

async fn round(stream: &mut Stream) {
    stream.write_all(b"ping").await.unwrap();
    stream.read_exact(&mut [0; 4]).await.unwrap();
}

#[unikernel_rt::test]
async fn a_packet_costs_the_same_among_one_and_among_ten_thousand() {
    let alone = work(0).await;
    for others in [1_000, 10_000] {
        assert_eq!(work(others).await.0, alone.0, "looks at flows, with {others} others");
        assert!(work(others).await.1 <= alone.1 + 20, "steps in the timer queue, with {others} others");
    }
    assert_eq!(alone.0, 2 * ROUNDS, "one look for the frame in, one for the frame out");
}

#[unikernel_rt::test]
async fn ten_thousand_connections_carry_data() {
    let faults = Faults { queue: 1 << 20, ..Faults::NONE };
    let (client, server) = stacks_with(faults, Config { backlog: 1 << 20, ..fixed(SERVER) });
    serve_echo(&server, 7);
    let mut streams = Vec::new();
    for thousand in 0..10 {
        let tasks: Vec<_> = (0..1_000u32)
            .map(|number| unikernel_rt::spawn(use_once(client.clone(), thousand * 1_000 + number)))
            .collect();
        for task in tasks {
            streams.push(task.await.unwrap());
        }
    }
    assert_eq!(server.stats().by_state.owned, 10_000);
    drop(streams);
    settled(&[&client, &server]).await;
}

async fn use_once(client: Stack, number: u32) -> Stream {
    let mut stream = client.connect(at(7)).await.unwrap();
    stream.write_all(&number.to_be_bytes()).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(u32::from_be_bytes(answer), number);
    stream
}

/// Ten thousand connections in a machine of 256 MiB, even from one source, by the stack's own bounds.
#[test]
fn a_machine_of_256_mib_takes_ten_thousand() {
    let limits = limits::Limits::new(250 << 20, limits::Bounds::default());
    assert!(limits.connections >= 10_000 && limits.per_source >= 10_000, "{limits:?}");
    let all = limits.connections * limits::CONNECTION_COST + limits.window_memory;
    assert!(all <= (250 << 20) / 4 * 3, "{} MiB", all >> 20);
}

/// (Heap in MiB, connections, of them from one source.)
fn check_limits(heap_mib: usize, asked: Option<usize>, connections: usize, per_source: usize) {
    let bounds = limits::Bounds { connections: asked, ..Default::default() };
    let limits = limits::Limits::new(heap_mib << 20, bounds);
    assert_eq!((limits.connections, limits.per_source), (connections, per_source), "{heap_mib} MiB");
}

#[test]
fn bounds_follow_the_heap() {
    check_limits(0, None, limits::CONNECTIONS_HOSTED, 58_982);
    check_limits(0, Some(5), 5, 4);
    check_limits(2, None, 102, 91);
    check_limits(64, Some(1), 1, 1);
    check_limits(1024, None, 52_428, 47_185);
}
