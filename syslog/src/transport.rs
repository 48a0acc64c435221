//! The ways to a collector. Each goes on until it fails.

use crate::{
    batch::Batch,
    collector::Transport,
    limits::{ADDRESS_TIME, CONNECT_TIME_MAX, DATAGRAM_LEN_MAX, KEEP_ALIVE, TURN},
    queue::Entry,
    sender::{Outage, Shared},
};
use alloc::string::{String, ToString};
use core::{fmt, net::SocketAddr};
use embedded_io_async::{Read, Write};
use unikernel_net::{SendError, Stream, UdpSocket};
use unikernel_rt::{
    future::{FutureExt, pin_mut, select_biased},
    task::yield_now,
    time::{Instant, timeout},
};

/// Why lines do not pass.
pub(crate) struct Failure(String);

impl Failure {
    fn new(reason: impl ToString) -> Failure {
        Failure(reason.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A datagram a line (RFC 5426).
pub(crate) async fn over_datagrams(shared: &Shared, outage: &mut Outage) -> Failure {
    let Err(failure) = datagrams(shared, outage).await;
    failure
}

async fn datagrams(shared: &Shared, outage: &mut Outage) -> Result<core::convert::Infallible, Failure> {
    let socket = shared.stack.udp(0).map_err(Failure::new)?;
    let mut peer = look_up(shared, outage).await?;
    let mut good_until = Instant::now() + ADDRESS_TIME;
    let mut len_max = DATAGRAM_LEN_MAX;
    loop {
        shared.ready().await;
        if good_until <= Instant::now() {
            good_until = Instant::now() + ADDRESS_TIME;
            // The old address is better than none.
            peer = look_up(shared, outage).await.unwrap_or(peer);
        }
        send_some(shared, &socket, peer, &mut len_max).await?;
        outage.end(&shared.collector);
        yield_now().await;
    }
}

/// Another address with each attempt.
async fn look_up(shared: &Shared, outage: &Outage) -> Result<SocketAddr, Failure> {
    let lookup = timeout(CONNECT_TIME_MAX, shared.stack.lookup(&shared.collector.host)).await;
    let addresses = lookup.map_err(|_| Failure::new("its name is not answered"))?.map_err(Failure::new)?;
    let choice = addresses.get(outage.attempts() as usize % addresses.len().max(1));
    let address = choice.ok_or_else(|| Failure::new("its name has no address"))?;
    Ok(SocketAddr::new(*address, shared.collector.port))
}

/// Sends a few lines. One that fails waits on.
async fn send_some(shared: &Shared, socket: &UdpSocket, peer: SocketAddr, len_max: &mut usize) -> Result<(), Failure> {
    let hostname = shared.hostname();
    let mut message = String::new();
    for _ in 0..TURN {
        let Some(entry) = shared.pop() else { break };
        message.clear();
        shared.write(&entry, &hostname, *len_max, &mut message);
        match socket.send_to(message.as_bytes(), peer).await {
            Ok(()) => shared.note_sent(1),
            Err(error) => keep(shared, entry, error, len_max)?,
        }
    }
    Ok(())
}

/// Takes a line back; one that was too long comes again, cut. One that cannot be cut is lost, or those behind it would wait for
/// ever.
fn keep(shared: &Shared, entry: Entry, error: SendError, len_max: &mut usize) -> Result<(), Failure> {
    match error {
        SendError::TooLong { max, .. } if max < *len_max => *len_max = max,
        SendError::TooLong { .. } => {
            shared.give_up();
            return Ok(());
        }
        error => {
            shared.unpop(entry);
            return Err(Failure::new(error));
        }
    }
    shared.unpop(entry);
    Ok(())
}

/// A connection, with TLS or without.
pub(crate) async fn over_connection(shared: &Shared, batch: &mut Batch, outage: &mut Outage) -> Failure {
    let connecting = async {
        let host = &shared.collector.host;
        let mut stream = shared.stack.connect_host(host, shared.collector.port).await.map_err(Failure::new)?;
        stream.set_keep_alive(Some(KEEP_ALIVE));
        Ok(stream)
    };
    let stream = match timeout(CONNECT_TIME_MAX, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => return failure,
        Err(_) => return Failure::new("it does not answer"),
    };
    match shared.collector.transport {
        Transport::Tls => over_tls(shared, stream, batch, outage).await,
        _ => over_stream(shared, stream, batch, outage).await,
    }
}

#[cfg(feature = "tls")]
async fn over_tls(shared: &Shared, stream: Stream, batch: &mut Batch, outage: &mut Outage) -> Failure {
    let Some(connector) = &shared.config.tls else { return Failure::new("there is no TLS connector") };
    match connector.connect(&shared.collector.host, stream).await {
        Ok(stream) => over_stream(shared, stream, batch, outage).await,
        Err(error) => Failure::new(error),
    }
}

#[cfg(not(feature = "tls"))]
async fn over_tls(_: &Shared, _: Stream, _: &mut Batch, _: &mut Outage) -> Failure {
    Failure::new("this image has no TLS")
}

/// A byte stream, until it breaks or the collector ends it.
async fn over_stream(
    shared: &Shared,
    mut stream: impl Read + Write,
    batch: &mut Batch,
    outage: &mut Outage,
) -> Failure {
    loop {
        // What the last connection did not take comes first.
        if batch.is_empty() {
            if let Some(failure) = ends_before(&mut stream, shared.ready()).await {
                return failure;
            }
            shared.fill(batch);
        }
        if let Err(failure) = write(&mut stream, batch.bytes()).await {
            return failure;
        }
        shared.note_sent(batch.clear());
        outage.end(&shared.collector);
        yield_now().await;
    }
}

/// Waits, and notices meanwhile, and before, that the collector has gone: what is written then is lost.
async fn ends_before(stream: &mut impl Read, ready: impl Future<Output = ()>) -> Option<Failure> {
    let (end, ready) = (end_of(stream).fuse(), ready.fuse());
    pin_mut!(end, ready);
    select_biased! {
        failure = end => Some(failure),
        () = ready => None,
    }
}

/// A collector has nothing to say; what it says is not read.
async fn end_of(stream: &mut impl Read) -> Failure {
    let mut bytes = [0; 64];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) => return Failure::new("it closed the connection"),
            Ok(_) => {}
            Err(error) => return Failure::new(error),
        }
    }
}

async fn write(stream: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(Failure::new)?;
    stream.flush().await.map_err(Failure::new)
}
