//! Bytes that no honest peer sends, in handshakes and after: no panic, no endless loop, bounded memory.
#![allow(missing_docs)]

mod common;

use common::{Wire, connected, pki::Authority, wires};
use embedded_io_async::{Read, Write};
use unikernel_rt::{
    future::join,
    sim::Random,
    time::{Duration, timeout},
};
use unikernel_tls::{TlsAcceptor, TlsConnector, TlsStream};

/// Rounds of each test; each is a handshake or part of one.
const ROUNDS: u64 = 400;

fn sides() -> (TlsAcceptor, TlsConnector) {
    let root = Authority::new("root");
    (TlsAcceptor::new(root.leaf(&["a.test"]).identity()).unwrap(), TlsConnector::new(root.roots()).unwrap())
}

/// Changes, cuts, repeats or inserts bytes here and there.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        // Often where the structure is: in the first records' headers.
        let at = if random.below(2) == 0 { at.min(random.below(60)) } else { at };
        match random.below(6) {
            0 => bytes[at] = random.u64() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 => {
                let piece = bytes[at..].to_vec();
                bytes.extend_from_slice(&piece);
            }
            4 => bytes.splice(at..at, std::iter::repeat_n(0xff, 1 + random.below(9))).for_each(drop),
            _ => bytes.drain(at..(at + 1 + random.below(9)).min(bytes.len())).for_each(drop),
        }
    }
}

/// Carries bytes between two wires and changes them in one direction, from a flight on.
async fn meddle(from: &mut Wire, to: &mut Wire, random: &mut Random, mut clean_reads: usize) {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let len = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(len) => len,
        };
        let mut bytes = buffer[..len].to_vec();
        if clean_reads == 0 {
            mutate(&mut bytes, random);
        }
        clean_reads = clean_reads.saturating_sub(1);
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    to.cut();
}

/// Both sides talk through somebody who changes what one of them says.
#[unikernel_rt::test]
async fn meddled_handshakes_fail_in_good_order() {
    let (acceptor, connector) = sides();
    let (mut failures, mut successes) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let ((server, mut server_side), (client, mut client_side)) = (wires(64 * 1024), wires(64 * 1024));
        let clean_reads = random.below(3);
        let (mut client_out, mut client_in) = (client_side.split_off(), server_side.split_off());
        let meddling = unikernel_rt::spawn(async move {
            let mut other = Random::new(!seed);
            let never = usize::MAX;
            let (a, b) = if seed % 2 == 0 { (clean_reads, never) } else { (never, clean_reads) };
            let up = meddle(&mut client_side, &mut server_side, &mut random, a);
            let down = meddle(&mut client_in, &mut client_out, &mut other, b);
            join(up, down).await;
        });
        let both = join(acceptor.accept(server), connector.connect("a.test", client));
        let (server, client) = timeout(Duration::from_secs(60), both).await.expect("handshakes have a time limit");
        match server.is_err() || client.is_err() {
            true => failures += 1,
            false => successes += 1,
        }
        drop((server, client));
        meddling.abort();
    }
    // Keys differ from run to run, and with them what is hit: about half matter.
    assert!(failures > ROUNDS / 4, "{failures} of {ROUNDS} noticed; {successes} changed what does not matter");
}

/// Random bytes, with the look of records or without.
#[unikernel_rt::test]
async fn noise_is_no_handshake() {
    let (acceptor, connector) = sides();
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let mut bytes: Vec<u8> = (0..1 + random.below(5000)).map(|_| random.u64() as u8).collect();
        if seed % 2 == 0 {
            let len = bytes.len().saturating_sub(5) as u16;
            let header = [20 + (random.below(5) as u8), 3, 3, (len >> 8) as u8, len as u8];
            for (byte, value) in bytes.iter_mut().zip(header) {
                *byte = value;
            }
        }
        for is_server in [true, false] {
            let (ours, mut theirs) = wires(64 * 1024);
            theirs.write_all(&bytes).await.unwrap();
            theirs.cut();
            let result = match is_server {
                true => acceptor.accept(ours).await,
                false => connector.connect("a.test", ours).await,
            };
            assert!(result.is_err(), "seed {seed}");
        }
    }
}

/// A handshake message that says it is 16 MiB, in records that never end: the memory for it is bounded.
#[unikernel_rt::test]
async fn endless_messages_end() {
    let (acceptor, _) = sides();
    let (ours, mut theirs) = wires(64 * 1024);
    let sent = theirs.sent.clone();
    let flood = unikernel_rt::spawn(async move {
        let mut record = vec![22, 3, 1, 0x40, 0];
        record.extend_from_slice(&[1, 0xff, 0xff, 0xff]);
        record.resize(5 + 0x4000, 7);
        loop {
            theirs.write_all(&record).await.unwrap();
            record[5..9].fill(7);
        }
    });
    assert!(acceptor.accept(ours).await.is_err());
    assert!(sent.get() < 512 * 1024, "{} bytes were taken", sent.get());
    flood.abort();
}

/// Changed and repeated records after the handshake.
#[unikernel_rt::test]
async fn meddled_records_are_refused() {
    let (acceptor, connector) = sides();
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let (mut server, mut client): (TlsStream<Wire>, TlsStream<Wire>) =
            connected(&acceptor, &connector, "a.test").await;
        for _ in 0..3 {
            server.write_all(&vec![1; 1 + random.below(3000)]).await.unwrap();
        }
        server.flush().await.unwrap();
        server.get_ref().edit(|bytes| mutate(bytes, &mut random));
        server.get_ref().cut();
        let mut received = 0;
        let mut buffer = [0; 4096];
        let end = loop {
            match client.read(&mut buffer).await {
                Ok(0) => break None,
                Ok(len) => {
                    assert!(buffer[..len].iter().all(|byte| *byte == 1), "seed {seed}: only what was sent");
                    received += len;
                }
                Err(error) => break Some(error),
            }
        };
        assert!(end.is_some() && received <= 9000, "seed {seed}: {received} bytes, {end:?}");
    }
}
