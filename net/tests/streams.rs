//! Byte streams between two stacks: what goes in comes out, in order, over any cable.

mod common;
use common::*;
use unikernel_net::{Read, Stack, Write};
use unikernel_rt::{
    sim::Faults,
    time::{Duration, sleep, timeout},
};

/// Longer than any transfer here takes, and shorter than patience with a stall.
const PATIENCE: Duration = Duration::from_secs(3600);

/// `len` bytes go there and back, over a cable with these faults.
async fn check(faults: Faults, len: usize) {
    let (client, server) = stacks(faults);
    serve_echo(&server, 7);
    let Ok(()) = timeout(PATIENCE, there_and_back(&client, faults.seed, len)).await else {
        panic!("stalled with seed {}: {:#?} {:#?}", faults.seed, client.stats(), server.stats());
    };
    settled(&[&client, &server]).await;
}

async fn there_and_back(client: &Stack, seed: u64, len: usize) {
    let fail = |error: &dyn core::fmt::Display| -> ! { panic!("seed {seed}: {error}") };
    let sent = data(len, seed);
    let (mut reader, mut writer) = connect_patiently(client, 7).await.split();
    let copy = sent.clone();
    let writing = unikernel_rt::spawn(async move {
        let result = writer.write_all(&copy).await;
        writer.shutdown();
        result
    });
    let received = read_all(&mut reader).await.unwrap_or_else(|error| fail(&error));
    assert_eq!(writing.await, Some(Ok(())), "seed {seed}");
    assert!(received == sent, "{} of {len} bytes came back, seed {seed}", received.len());
}

#[unikernel_rt::test]
async fn nothing_at_all() {
    check(Faults::NONE, 0).await
}

#[unikernel_rt::test]
async fn one_byte() {
    check(Faults::NONE, 1).await
}

#[unikernel_rt::test]
async fn a_megabyte() {
    check(Faults::NONE, 1 << 20).await
}

#[unikernel_rt::test]
async fn a_small_mtu() {
    check(Faults { mtu: 576, ..Faults::NONE }, 100_000).await
}

#[unikernel_rt::test]
async fn request_and_answer() {
    let (client, server) = stacks(Faults::NONE);
    serve_echo(&server, 7);
    let mut stream = client.connect(at(7)).await.unwrap();
    for round in 0..100u8 {
        stream.write_all(&[round; 100]).await.unwrap();
        let mut answer = [0; 100];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [round; 100]);
    }
    drop(stream);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn many_at_once() {
    let (client, server) = stacks(Faults::NONE);
    serve_echo(&server, 7);
    let tasks: Vec<_> = (0..8u8)
        .map(|number| {
            let client = client.clone();
            unikernel_rt::spawn(async move {
                let mut stream = client.connect(at(7)).await.unwrap();
                stream.write_all(&[number; 10]).await.unwrap();
                let mut answer = [0; 10];
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, [number; 10]);
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
    settled(&[&client, &server]).await;
}

/// Every fault at once, `per_mille` of the frames, over many seeds.
async fn check_bad(per_mille: u16, seeds: core::ops::Range<u64>, len: usize) {
    for seed in seeds {
        check(bad(per_mille, seed), len).await;
    }
}

#[unikernel_rt::test]
async fn one_frame_in_a_hundred_is_bad() {
    check_bad(10, 0..100, 100_000).await
}

#[unikernel_rt::test]
async fn one_frame_in_twenty_is_bad() {
    check_bad(50, 100..200, 30_000).await
}

#[unikernel_rt::test]
async fn one_frame_in_five_is_lost() {
    for seed in 0..40 {
        check(Faults { reorder: 0, duplicate: 0, corrupt: 0, ..bad(200, seed) }, 5_000).await;
    }
}

#[unikernel_rt::test]
async fn one_frame_in_five_is_corrupted() {
    for seed in 0..40 {
        check(Faults { reorder: 0, duplicate: 0, loss: 0, ..bad(200, seed) }, 5_000).await;
    }
}

#[unikernel_rt::test]
async fn one_frame_in_five_comes_late() {
    for seed in 0..40 {
        check(Faults { loss: 0, duplicate: 0, corrupt: 0, ..bad(200, seed) }, 50_000).await;
    }
}

#[unikernel_rt::test]
async fn one_frame_in_five_comes_twice() {
    for seed in 0..40 {
        check(Faults { loss: 0, reorder: 0, corrupt: 0, ..bad(200, seed) }, 50_000).await;
    }
}

/// Three acknowledgements of everything but the FIN once stopped the timer that would have sent it again.
#[unikernel_rt::test]
async fn a_fin_is_sent_again_whatever_came_between() {
    check(Faults { loss: 0, reorder: 0, corrupt: 0, ..bad(200, 1250) }, 50_000).await;
    check_bad(50, 4090..4110, 30_000).await
}

#[unikernel_rt::test]
async fn the_server_ends_first_and_still_reads() {
    let (client, server) = stacks(Faults::NONE);
    let mut listener = server.listen(80).unwrap();
    let serving = unikernel_rt::spawn(async move {
        let mut stream = listener.accept().await;
        stream.write_all(b"that is all").await.unwrap();
        stream.shutdown();
        assert_eq!(stream.write(b"more").await, Err(unikernel_net::Error::Closed));
        read_all(&mut stream).await.unwrap()
    });
    let mut stream = client.connect(at(80)).await.unwrap();
    assert_eq!(read_all(&mut stream).await.unwrap(), b"that is all");
    // Reading at the end again finds the end again.
    assert_eq!(stream.read(&mut [0; 1]).await, Ok(0));
    let sent = data(300_000, 1);
    stream.write_all(&sent).await.unwrap();
    drop(stream);
    assert!(serving.await.unwrap() == sent);
    settled(&[&client, &server]).await;
}

/// A dropped stream still delivers what was written, over a cable with these faults.
async fn check_drop_delivers(faults: Faults) {
    let (client, server) = stacks(faults);
    let mut listener = server.listen(80).unwrap();
    let sent = data(200_000, 3);
    let copy = sent.clone();
    unikernel_rt::spawn(async move {
        listener.accept().await.write_all(&copy).await.unwrap();
    });
    let mut stream = connect_patiently(&client, 80).await;
    assert!(read_all(&mut stream).await.unwrap() == sent);
    drop(stream);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn dropping_delivers_first() {
    check_drop_delivers(Faults::NONE).await
}

#[unikernel_rt::test]
async fn dropping_delivers_first_over_a_bad_cable() {
    check_drop_delivers(bad(30, 5)).await
}

#[unikernel_rt::test]
async fn a_slow_reader_closes_the_window_and_opens_it_again() {
    let (client, server) = stacks(Faults::NONE);
    let mut listener = server.listen(80).unwrap();
    let sent = data(400_000, 9);
    let copy = sent.clone();
    unikernel_rt::spawn(async move {
        listener.accept().await.write_all(&copy).await.unwrap();
    });
    let mut stream = client.connect(at(80)).await.unwrap();
    let mut received = Vec::new();
    let mut bytes = [0; 20_000];
    loop {
        sleep(Duration::from_secs(5)).await;
        match stream.read(&mut bytes).await.unwrap() {
            0 => break,
            len => received.extend_from_slice(&bytes[..len]),
        }
    }
    assert!(received == sent);
    drop(stream);
    settled(&[&client, &server]).await;
}

#[unikernel_rt::test]
async fn halves_live_in_two_tasks() {
    let (client, server) = stacks(Faults::NONE);
    serve_echo(&server, 7);
    let (reader, mut writer) = client.connect(at(7)).await.unwrap().split();
    writer.write_all(b"first half").await.unwrap();
    writer.flush().await.unwrap();
    // The writer's drop ends its direction; the reader goes on.
    drop(writer);
    let mut reader = reader;
    assert_eq!(read_all(&mut reader).await.unwrap(), b"first half");
    drop(reader);
    settled(&[&client, &server]).await;
}
