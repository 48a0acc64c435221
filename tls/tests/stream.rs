//! Streams after the handshake: bulk, halves, ends, cancellation, memory, misbehaviour.
#![allow(missing_docs)]

mod common;

use common::{Wire, connected, pass, pki::Authority, wires};
use embedded_io_async::{BufRead, Read, Write};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};
use unikernel_rt::{
    future::join,
    sim::Random,
    time::{Duration, sleep, timeout},
};
use unikernel_tls::{TlsAcceptor, TlsConnector, TlsError, TlsStream};

fn sides() -> (TlsAcceptor, TlsConnector) {
    let root = Authority::new("root");
    (TlsAcceptor::new(root.leaf(&["a.test"]).identity()).unwrap(), TlsConnector::new(root.roots()).unwrap())
}

async fn pair() -> (TlsStream<Wire>, TlsStream<Wire>) {
    let (acceptor, connector) = sides();
    connected(&acceptor, &connector, "a.test").await
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = Random::new(len as u64);
    (0..len).map(|_| random.u64() as u8).collect()
}

#[unikernel_rt::test]
async fn every_length_arrives_in_both_directions() {
    let (mut server, mut client) = pair().await;
    for len in [1, 2, 15, 16, 17, 255, 256, 257, 1023, 1024, 16_383, 16_384, 16_385, 40_000, 300_000] {
        pass(&mut server, &mut client, &noise(len)).await;
        pass(&mut client, &mut server, &noise(len)).await;
    }
}

/// The stream below takes and gives few bytes at a time.
#[unikernel_rt::test]
async fn narrow_streams_carry_it() {
    let (acceptor, connector) = sides();
    // The fewest bytes a stream may hold are those of the longest message that both send at once, 6.
    for (capacity, step) in [(7, 3), (100, 64), (5000, 1000), (65_536, 1)] {
        let (a, b) = wires(capacity);
        let (server, client) =
            join(acceptor.accept(a.trickling(step)), connector.connect("a.test", b.trickling(step))).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        pass(&mut server, &mut client, &noise(20_000)).await;
        pass(&mut client, &mut server, &noise(20_000)).await;
    }
}

#[unikernel_rt::test]
async fn halves_work_in_two_tasks() {
    let (server, client) = pair().await;
    let data = noise(500_000);
    let (mut server_in, mut server_out) = server.split(Wire::split);
    let (mut client_in, mut client_out) = client.split(Wire::split);
    let echo = unikernel_rt::spawn(async move {
        let mut buffer = [0; 3000];
        loop {
            match server_in.read(&mut buffer).await.unwrap() {
                0 => break,
                len => server_out.write_all(&buffer[..len]).await.unwrap(),
            }
            server_out.flush().await.unwrap();
        }
        server_out.close().await.unwrap();
    });
    let sent = data.clone();
    let send = unikernel_rt::spawn(async move {
        client_out.write_all(&sent).await.unwrap();
        client_out.close().await.unwrap();
        assert_eq!(client_out.write(b"more").await, Err(TlsError::Closed));
    });
    let mut back = Vec::new();
    let mut buffer = [0; 5000];
    loop {
        match client_in.read(&mut buffer).await.unwrap() {
            0 => break,
            len => back.extend_from_slice(&buffer[..len]),
        }
    }
    assert!(back == data);
    echo.await;
    send.await;
}

#[unikernel_rt::test]
async fn an_end_without_close_notify_is_an_error() {
    let (mut server, mut client) = pair().await;
    pass(&mut server, &mut client, b"before").await;
    server.get_ref().cut();
    for _ in 0..2 {
        assert_eq!(client.read(&mut [0; 9]).await, Err(TlsError::Truncated));
    }
    let (mut server, mut client) = pair().await;
    server.write_all(b"last words").await.unwrap();
    server.close().await.unwrap();
    server.close().await.unwrap();
    assert_eq!(server.write(b"x").await, Err(TlsError::Closed));
    // The other direction goes on.
    client.write_all(b"answer").await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut [0; 6]).await.unwrap();
    drop(server);
    let mut all = [0; 10];
    client.read_exact(&mut all).await.unwrap();
    assert_eq!(&all, b"last words");
    for _ in 0..2 {
        assert_eq!(client.read(&mut all).await, Ok(0));
    }
}

/// Cut within a record, too: whatever was complete is delivered, then the error.
#[unikernel_rt::test]
async fn a_cut_record_is_an_error() {
    for kept in [0, 1, 4, 5, 6, 20, 60] {
        let (mut server, mut client) = pair().await;
        pass(&mut server, &mut client, b"ticket").await;
        server.write_all(&[1; 100]).await.unwrap();
        server.flush().await.unwrap();
        server.get_ref().edit(|bytes| bytes.truncate(kept));
        server.get_ref().cut();
        assert_eq!(client.read(&mut [0; 200]).await, Err(TlsError::Truncated), "{kept} bytes");
    }
}

#[unikernel_rt::test]
async fn changed_bytes_are_noticed_and_reported() {
    // Not the version, at 1 and 2: it says nothing (RFC 8446, 5.1).
    for at in [0, 3, 4, 5, 30, 100, 120] {
        let (mut server, mut client) = pair().await;
        pass(&mut server, &mut client, b"ticket").await;
        server.write_all(&[1; 100]).await.unwrap();
        server.flush().await.unwrap();
        server.get_ref().edit(|bytes| {
            let last = bytes.len() - 1;
            bytes[at.min(last)] ^= 0x10;
        });
        let read = timeout(Duration::from_secs(1), client.read(&mut [0; 200])).await;
        match read {
            // A longer length: the rest is waited for.
            Err(_) => assert_eq!(at, 3),
            Ok(result) => {
                let error = result.unwrap_err();
                assert!(matches!(error, TlsError::Protocol(_) | TlsError::Misbehaved(_)), "byte {at}: {error:?}");
                assert_eq!(client.read(&mut [0; 9]).await, Err(error), "it stays so");
                assert!(matches!(server.read(&mut [0; 9]).await, Err(TlsError::Alert(_))), "byte {at}");
            }
        }
    }
}

/// Futures that are dropped after a few polls lose and repeat nothing.
#[unikernel_rt::test]
async fn dropped_futures_take_and_write_nothing() {
    let (acceptor, connector) = sides();
    let (a, b) = wires(700);
    let (server, client) = join(acceptor.accept(a.trickling(300)), connector.connect("a.test", b)).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    let data = noise(200_000);
    let sent = data.clone();
    let send = unikernel_rt::spawn(async move {
        let mut random = Random::new(1);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let len = rest.len().min(1 + random.below(20_000));
            if let Some(len) = patience(random.below(3), client.write(&rest[..len])).await {
                rest = &rest[len.unwrap()..];
            }
            if random.below(4) == 0 {
                patience(random.below(3), client.flush()).await;
            }
        }
        loop {
            if patience(random.below(3), client.close()).await.is_some() {
                return;
            }
        }
    });
    let (mut random, mut received, mut buffer) = (Random::new(2), Vec::new(), vec![0; 20_000]);
    loop {
        let len = 1 + random.below(buffer.len());
        match patience(random.below(3), server.read(&mut buffer[..len])).await {
            None => {}
            Some(Ok(0)) => break,
            Some(len) => received.extend_from_slice(&buffer[..len.unwrap()]),
        }
    }
    assert!(received == data);
    send.await;
}

/// Polls a future `polls + 1` times, a turn of the others between, and drops it.
async fn patience<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..=polls {
        let poll = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = poll {
            return Some(output);
        }
        sleep(Duration::from_micros(1)).await;
    }
    None
}

#[unikernel_rt::test]
async fn it_can_be_read_in_place() {
    let (mut server, mut client) = pair().await;
    server.write_all(b"line one\nline two\n").await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(client.fill_buf().await.unwrap(), b"line one\nline two\n");
    client.consume(9);
    assert_eq!(client.fill_buf().await.unwrap(), b"line two\n");
    client.consume(9);
    server.close().await.unwrap();
    assert_eq!(client.fill_buf().await.unwrap(), b"");
}
