//! Byte streams between two stacks: what goes in comes out, in order, over any cable.

mod common;
use common::*;
use unikernel_net::{Read, Write};
use unikernel_rt::sim::Faults;

/// `len` bytes go there and back, over a cable with these faults.
async fn check(faults: Faults, len: usize) {
    let (client, server) = stacks(faults);
    serve_echo(&server, 7);
    let sent = data(len, faults.seed);
    let (mut reader, mut writer) = client.connect(at(7)).await.unwrap().split();
    let copy = sent.clone();
    let writing = unikernel_rt::spawn(async move {
        writer.write_all(&copy).await.unwrap();
        writer.shutdown();
    });
    let received = read_all(&mut reader).await.unwrap();
    writing.await;
    drop(reader);
    assert!(received == sent, "{} of {len} bytes came back, seed {}", received.len(), faults.seed);
    settled(&[&client, &server]).await;
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
