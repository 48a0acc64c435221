//! How connections begin and end, and that none is left.

mod common;
use common::*;
use unikernel_net::{Config, ConnectError, Error, ListenError, Read, Stack, Stream, Write, limits::Bounds};
use unikernel_rt::{
    sim::{Faults, set_heap_free},
    time::{Duration, Instant, sleep, timeout},
};

/// A connected pair: the client's end and the server's.
async fn connected(client: &Stack, server: &Stack) -> (Stream, Stream) {
    let mut listener = server.listen(80).unwrap();
    let ours = client.connect(at(80)).await.unwrap();
    (ours, listener.accept().await)
}

#[unikernel_rt::test]
async fn a_reset_reaches_the_reader_after_the_data() {
    let (client, server) = stacks(Faults::NONE);
    let (mut ours, mut theirs) = connected(&client, &server).await;
    theirs.write_all(b"last words").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    theirs.abort();
    sleep(Duration::from_millis(1)).await;
    let mut bytes = [0; 20];
    assert_eq!(ours.read(&mut bytes).await, Ok(10));
    assert_eq!(ours.read(&mut bytes).await, Err(Error::Reset));
    assert_eq!(ours.write(b"?").await, Err(Error::Reset));
    drop(ours);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn a_reset_wakes_who_waits() {
    let (client, server) = stacks(Faults::NONE);
    let (mut ours, theirs) = connected(&client, &server).await;
    let reading = unikernel_rt::spawn(async move { ours.read(&mut [0; 1]).await });
    sleep(Duration::from_secs(100)).await;
    theirs.abort();
    assert_eq!(reading.await, Some(Err(Error::Reset)));
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn nobody_listens() {
    let (client, server) = stacks(Faults::NONE);
    assert_eq!(client.connect(at(81)).await.err(), Some(ConnectError::Refused));
    assert_eq!(server.stats().drops.unmatched, 1);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn nobody_is_there() {
    let (client, server) = stacks(Faults::NONE);
    let nobody = "10.0.0.99:80".parse().unwrap();
    assert_eq!(client.connect(nobody).await.err(), Some(ConnectError::Unreachable));
    // Three questions, a second apart (RFC 4861, 10).
    assert_eq!(Instant::now(), Instant::from_millis(3_000));
    settled(&[&client, &server]).await;
}

async fn check_unreachable(address: &str) {
    let (client, _server) = stacks(Faults::NONE);
    let refused = client.connect(address.parse().unwrap()).await.err();
    assert_eq!(refused, Some(ConnectError::Unreachable), "{address}");
}

#[unikernel_rt::test]
async fn addresses_that_are_no_peers() {
    for address in [
        "0.0.0.0:1",
        "10.0.0.1:1",
        "10.0.0.255:1",
        "255.255.255.255:1",
        "224.0.0.1:1",
        "127.0.0.1:1",
        "10.0.0.2:0",
        "11.0.0.1:1",
    ] {
        check_unreachable(address).await;
    }
}

#[unikernel_rt::test]
async fn giving_up_on_connect_leaves_nothing() {
    let (client, server) = stacks(Faults { delay: Duration::from_millis(50), ..Faults::NONE });
    let _listener = server.listen(80).unwrap();
    for wait_ms in [0, 20, 120, 170, 210] {
        let result = timeout(Duration::from_millis(wait_ms), client.connect(at(80))).await;
        drop(result);
        settled(&[&client]).await;
        // What was given up too late waits in the server's queue, finished.
        let stats = server.stats();
        assert_eq!(stats.flows, stats.by_state.queued, "{stats:?}");
    }
}

#[unikernel_rt::test]
async fn a_port_is_listened_on_once() {
    let (_client, server) = stacks(Faults::NONE);
    let first = server.listen(80).unwrap();
    assert_eq!(server.listen(80).err(), Some(ListenError::PortInUse(80)));
    assert!(ListenError::PortInUse(80).to_string().starts_with("port 80 is in use"));
    drop(first);
    let again = server.listen(80).unwrap();
    assert_eq!(again.local_port(), 80);
    let free = [server.listen(0).unwrap(), server.listen(0).unwrap()];
    assert_ne!(free[0].local_port(), free[1].local_port());
}

#[unikernel_rt::test]
async fn addresses_of_both_ends() {
    let (client, server) = stacks(Faults::NONE);
    let (ours, theirs) = connected(&client, &server).await;
    assert_eq!((ours.peer(), theirs.local()), (at(80), at(80)));
    assert_eq!((ours.local(), theirs.peer().ip()), (theirs.peer(), CLIENT.into()));
}

#[unikernel_rt::test]
async fn a_dropped_listener_resets_who_waits_but_not_who_was_accepted() {
    let (client, server) = stacks(Faults::NONE);
    let mut listener = server.listen(80).unwrap();
    let mut first = client.connect(at(80)).await.unwrap();
    let accepted = listener.accept().await;
    let mut second = client.connect(at(80)).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    drop(listener);
    assert_eq!(second.read(&mut [0; 1]).await, Err(Error::Reset));
    drop(accepted);
    assert_eq!(first.read(&mut [0; 1]).await, Ok(0));
    drop((first, second));
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn a_full_backlog_ignores_newcomers_until_there_is_room() {
    let config = Config { backlog: 2, ..fixed(SERVER) };
    let (client, server) = stacks_with(Faults::NONE, config);
    let mut listener = server.listen(80).unwrap();
    let mut streams = vec![client.connect(at(80)).await.unwrap(), client.connect(at(80)).await.unwrap()];
    sleep(Duration::from_millis(1)).await;
    let third = unikernel_rt::spawn({
        let client = client.clone();
        async move { client.connect(at(80)).await }
    });
    sleep(Duration::from_secs(2)).await;
    assert!(!third.is_finished());
    assert!(server.stats().drops.backlog >= 1);
    drop(listener.accept().await);
    streams.push(third.await.unwrap().unwrap());
    drop((streams, listener));
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn more_connections_than_allowed_wait_outside() {
    let config =
        Config { bounds: Bounds { connections: Some(3), per_source: Some(3), ..Bounds::default() }, ..fixed(SERVER) };
    let (client, server) = stacks_with(Faults::NONE, config);
    serve_echo(&server, 7);
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(client.connect(at(7)).await.unwrap());
    }
    assert!(timeout(Duration::from_secs(2), client.connect(at(7))).await.is_err());
    assert!(server.stats().drops.connections >= 1);
    assert_eq!(server.stats().flows, 3);
    streams.pop();
    sleep(Duration::from_secs(1)).await;
    streams.push(client.connect(at(7)).await.unwrap());
    drop(streams);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn too_many_outgoing_connections() {
    let (server, client) = stacks_with(
        Faults::NONE,
        Config { bounds: Bounds { connections: Some(2), ..Bounds::default() }, ..fixed(SERVER) },
    );
    let _listener = server.listen(80).unwrap();
    let peer = std::net::SocketAddr::new(CLIENT.into(), 80);
    let _two = [client.connect(peer).await.unwrap(), client.connect(peer).await.unwrap()];
    assert_eq!(client.connect(peer).await.err(), Some(ConnectError::TooManyConnections));
}

/// The cable is cut; what is noticed, and when.
async fn check_cut(prepare: impl AsyncFnOnce(&mut Stream), expected: Error, within: Duration) {
    let (left, right) = unikernel_rt::sim::cable(Faults::NONE);
    let switch = Switch::new(left);
    let handle = switch.handle();
    let client = Stack::new(Box::new(switch), fixed(CLIENT));
    let server = Stack::new(Box::new(right), fixed(SERVER));
    let (ours, mut theirs) = connected(&client, &server).await;
    handle.cut();
    prepare(&mut theirs).await;
    let start = Instant::now();
    assert_eq!(read_all(&mut theirs).await, Err(expected));
    assert!(start.elapsed() <= within, "noticed after {:?}", start.elapsed());
    assert!(start.elapsed() >= within / 2, "noticed already after {:?}", start.elapsed());
    drop((ours, theirs));
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn keep_alive_notices_a_dead_peer() {
    check_cut(
        async |stream| stream.set_keep_alive(Some(Duration::from_secs(10))),
        Error::TimedOut,
        Duration::from_secs(41),
    )
    .await
}

#[unikernel_rt::test]
async fn unacknowledged_data_times_out() {
    check_cut(async |stream| stream.write_all(b"hello?").await.unwrap(), Error::TimedOut, Duration::from_secs(122))
        .await
}

#[unikernel_rt::test]
async fn the_user_timeout_can_be_set() {
    check_cut(
        async |stream| {
            stream.set_user_timeout(Some(Duration::from_secs(5)));
            stream.write_all(b"hello?").await.unwrap();
        },
        Error::TimedOut,
        Duration::from_secs(6),
    )
    .await
}

#[unikernel_rt::test]
async fn an_idle_connection_lives_for_ever() {
    let (client, server) = stacks(Faults::NONE);
    let (mut ours, mut theirs) = connected(&client, &server).await;
    for _ in 0..3 {
        sleep(Duration::from_secs(100_000)).await;
        ours.write_all(b"still here").await.unwrap();
        let mut bytes = [0; 10];
        theirs.read_exact(&mut bytes).await.unwrap();
    }
    drop((ours, theirs));
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn keep_alive_keeps_a_living_peer() {
    let (client, server) = stacks(Faults::NONE);
    let (mut ours, mut theirs) = connected(&client, &server).await;
    theirs.set_keep_alive(Some(Duration::from_secs(10)));
    sleep(Duration::from_secs(10_000)).await;
    assert!(server.stats().frames_out >= 1_000);
    theirs.write_all(b"x").await.unwrap();
    assert_eq!(ours.read(&mut [0; 9]).await, Ok(1));
}

#[unikernel_rt::test]
async fn an_orphan_does_not_wait_for_ever() {
    let (client, server) = stacks(Faults::NONE);
    let (ours, theirs) = connected(&client, &server).await;
    // The client never ends its direction.
    drop(theirs);
    sleep(Duration::from_secs(50)).await;
    assert_eq!(server.stats().by_state.orphaned, 1);
    sleep(Duration::from_secs(11)).await;
    assert_eq!((server.stats().flows, server.stats().drops.orphans), (0, 1));
    drop(ours);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn an_orphan_does_not_take_everything() {
    let (client, server) = stacks(Faults::NONE);
    let (mut ours, theirs) = connected(&client, &server).await;
    drop(theirs);
    let sent = ours.write_all(&data(2_000_000, 1)).await;
    assert_eq!(sent, Err(Error::Reset));
    assert_eq!(server.stats().drops.orphans, 1);
    drop(ours);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn a_client_that_still_sends_gets_to_read_the_answer() {
    let (client, server) = stacks(Faults::NONE);
    let (mut ours, mut theirs) = connected(&client, &server).await;
    theirs.write_all(b"no, thank you").await.unwrap();
    drop(theirs);
    ours.write_all(&data(100_000, 1)).await.unwrap();
    assert_eq!(read_all(&mut ours).await.unwrap(), b"no, thank you");
    drop(ours);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn time_wait_holds_no_connection_and_ends() {
    let (client, server) = stacks(Faults::NONE);
    let (mut ours, theirs) = connected(&client, &server).await;
    drop(theirs);
    assert_eq!(ours.read(&mut [0; 1]).await, Ok(0));
    drop(ours);
    sleep(Duration::from_millis(100)).await;
    assert_eq!((server.stats().flows, server.stats().time_wait, client.stats().flows), (0, 1, 0));
    sleep(Duration::from_secs(11)).await;
    // Records are forgotten when something happens.
    assert_eq!(client.connect(at(9)).await.err(), Some(ConnectError::Refused));
    assert_eq!(server.stats().time_wait, 0);
}

/// A client with so few ports that it must use them again while the server remembers them.
#[unikernel_rt::test]
async fn ports_are_used_again_after_time_wait() {
    let (client, server) = stacks(Faults::NONE);
    let mut listener = server.listen(80).unwrap();
    unikernel_rt::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    for _ in 0..3_000 {
        let mut stream = client.connect(at(80)).await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await, Ok(0));
    }
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn both_close_at_once() {
    for seed in 0..50 {
        let (client, server) = stacks(Faults { corrupt: 0, ..bad(20, seed) });
        let (ours, theirs) = connected(&client, &server).await;
        drop((ours, theirs));
        settled(&[&client, &server]).await;
    }
}

#[unikernel_rt::test]
async fn ends_of_every_kind_over_bad_cables_leave_nothing() {
    for seed in 0..60 {
        let (client, server) = stacks(Faults { corrupt: 0, ..bad(100, seed) });
        let Ok((mut ours, mut theirs)) = timeout(Duration::from_secs(30), connected(&client, &server)).await else {
            continue;
        };
        let bytes = data(20_000, seed);
        let _ = timeout(Duration::from_millis(seed * 10), ours.write_all(&bytes)).await;
        let _ = timeout(Duration::from_millis(seed * 7), theirs.read(&mut [0; 3000])).await;
        match seed % 5 {
            0 => (ours.abort(), drop(theirs)).0,
            1 => (drop(ours), theirs.abort()).0,
            2 => (drop(ours.split().1), drop(theirs)).0,
            3 => {
                ours.shutdown();
                let _ = timeout(Duration::from_secs(20), read_all(&mut theirs)).await;
                drop((ours, theirs));
            }
            _ => {
                theirs.shutdown();
                drop((ours, theirs));
            }
        }
        settled(&[&client, &server]).await;
    }
}

#[unikernel_rt::test]
async fn when_memory_is_short_new_connections_wait_and_old_ones_go_on() {
    let (client, server) = stacks(Faults { delay: Duration::from_millis(1), ..Faults::NONE });
    serve_echo(&server, 7);
    let mut old = client.connect(at(7)).await.unwrap();
    set_heap_free(10_000);
    let new = unikernel_rt::spawn({
        let client = client.clone();
        async move { client.connect(at(7)).await }
    });
    for _ in 0..3 {
        old.write_all(b"still?").await.unwrap();
        assert_eq!(old.read(&mut [0; 6]).await, Ok(6));
        sleep(Duration::from_secs(2)).await;
    }
    assert!(server.stats().drops.memory > 0);
    assert_eq!(server.stats().flows, 1);
    set_heap_free(1_000_000);
    // The client's next SYN finds room.
    assert!(new.await.unwrap().is_ok());
    assert!(Instant::now() < Instant::from_millis(20_000));
}
