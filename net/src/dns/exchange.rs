//! One question to one server: over UDP, and over TCP when the answer is too long or somebody guesses.

use super::{
    answer::{Answer, Misfit},
    limits::{MISFITS_MAX, TCP_TIME_MAX, UDP_ANSWER_LEN_MAX},
    message::Question,
    network::{Datagrams, Network},
};
use alloc::{vec, vec::Vec};
use core::net::SocketAddr;
use embedded_io_async::{Read, Write};
use unikernel_rt::{
    entropy,
    time::{Duration, timeout},
};

/// Why a server gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Nothing came in time, or nothing can be sent: asking again may help.
    NoAnswer,
    /// It failed or refused.
    Refused,
    /// What came is not well-formed.
    Malformed,
}

/// Asks `server`, which has `patience` for each datagram. Dropping the future gives up.
pub(crate) async fn ask<N: Network>(
    network: &N,
    server: SocketAddr,
    question: &Question,
    patience: Duration,
) -> Result<Answer, Silence> {
    let mut answer = over_udp(network, server, question, patience, true).await?;
    if answer == Answer::NotUnderstood {
        // RFC 6891, 6.2.2: it may not know EDNS.
        answer = over_udp(network, server, question, patience, false).await?;
    }
    if answer == Answer::Truncated {
        answer = timeout(TCP_TIME_MAX, over_tcp(network, server, question)).await.map_err(|_| Silence::NoAnswer)??;
    }
    match answer {
        Answer::NotUnderstood | Answer::Failed => Err(Silence::Refused),
        Answer::Truncated => Err(Silence::Malformed),
        answer => Ok(answer),
    }
}

async fn over_udp<N: Network>(
    network: &N,
    server: SocketAddr,
    question: &Question,
    patience: Duration,
    edns: bool,
) -> Result<Answer, Silence> {
    let socket = network.udp().ok_or(Silence::NoAnswer)?;
    let id = random_id();
    let exchange = async {
        if !socket.send_to(&question.message(id, edns), server).await {
            return Err(Silence::NoAnswer);
        }
        hear(&socket, server, id, question).await
    };
    timeout(patience, exchange).await.unwrap_or(Err(Silence::NoAnswer))
}

/// Waits for the answer. What does not fit the question is not heard, but not without end either.
async fn hear(socket: &impl Datagrams, server: SocketAddr, id: u16, question: &Question) -> Result<Answer, Silence> {
    let mut buffer = vec![0; UDP_ANSWER_LEN_MAX];
    let mut misfits = 0;
    loop {
        let (len, from) = socket.receive_from(&mut buffer).await;
        if (from.ip(), from.port()) != (server.ip(), server.port()) {
            continue;
        }
        match Answer::read(&buffer[..len], id, question) {
            Ok(answer) => return Ok(answer),
            Err(Misfit::Malformed) => return Err(Silence::Malformed),
            Err(Misfit::Foreign) if misfits < MISFITS_MAX => misfits += 1,
            // Whoever guesses ids over UDP would have to guess sequence numbers over TCP.
            Err(Misfit::Foreign) => return Ok(Answer::Truncated),
        }
    }
}

/// RFC 7766, 8: both ways, the length goes first.
async fn over_tcp<N: Network>(network: &N, server: SocketAddr, question: &Question) -> Result<Answer, Silence> {
    let mut stream = network.tcp(server).await.ok_or(Silence::NoAnswer)?;
    let id = random_id();
    let message = question.message(id, true);
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend((message.len() as u16).to_be_bytes());
    framed.extend(message);
    stream.write_all(&framed).await.map_err(|_| Silence::NoAnswer)?;
    stream.flush().await.map_err(|_| Silence::NoAnswer)?;
    let answer = read_framed(&mut stream).await.ok_or(Silence::NoAnswer)?;
    Answer::read(&answer, id, question).map_err(|_| Silence::Malformed)
}

/// A message after its length. Memory grows with what arrives, not with what the length says.
async fn read_framed(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).await.ok()?;
    let len = usize::from(u16::from_be_bytes(len));
    let (mut message, mut part) = (Vec::new(), vec![0; UDP_ANSWER_LEN_MAX]);
    while message.len() < len {
        let wanted = part.len().min(len - message.len());
        let count = stream.read(&mut part[..wanted]).await.ok().filter(|count| *count > 0)?;
        message.extend(&part[..count]);
    }
    Some(message)
}

fn random_id() -> u16 {
    entropy::u64() as u16
}
