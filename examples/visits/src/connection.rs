//! One connection to Redis, from its first command until it breaks.

use crate::{
    redis::{REPLY_TIME_MAX, Shared},
    resp::{Malformed, parse},
};
use alloc::{format, string::String, vec::Vec};
use core::{convert::Infallible, pin::pin};
use unikernel_net::{Read, ReadHalf, Stream, Write, WriteHalf};
use unikernel_rt::{
    future::{Either, select},
    time::{Duration, Instant, sleep_until},
};

/// How often an idle connection asks whether the server is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How much is read at once: some hundred replies.
const READ_LEN: usize = 4096;

/// How a connection ended.
pub struct Broken {
    pub reason: String,
    /// Redis has answered at least once, so connecting again is worth trying soon.
    pub answered: bool,
}

/// Sends and receives until the connection breaks, a reply makes no sense or one does not come.
pub async fn run(mut stream: Stream, shared: &Shared) -> Broken {
    stream.set_keep_alive(Some(KEEP_ALIVE));
    let (reader, writer) = stream.split();
    let mut answered = false;
    let reason = {
        let (read, write) = (pin!(read(reader, shared, &mut answered)), pin!(write(writer, shared)));
        let (both, watch) = (select(read, write), pin!(watch(shared)));
        let (Either::Left((Either::Left((ended, _)) | Either::Right((ended, _)), _)) | Either::Right((ended, _))) =
            select(both, watch).await;
        let Err(reason) = ended;
        reason
    };
    Broken { reason, answered }
}

/// Sends all commands there are in one piece, then waits for more.
async fn write(mut writer: WriteHalf, shared: &Shared) -> Result<Infallible, String> {
    loop {
        let commands = shared.take_unsent();
        if commands.is_empty() {
            shared.commands.notified().await;
        }
        writer.write_all(&commands).await.map_err(|error| format!("{error}"))?;
    }
}

async fn read(mut reader: ReadHalf, shared: &Shared, answered: &mut bool) -> Result<Infallible, String> {
    let mut received = Vec::new();
    let mut piece = [0; READ_LEN];
    loop {
        match reader.read(&mut piece).await.map_err(|error| format!("{error}"))? {
            0 => return Err("it closed the connection".into()),
            len => received.extend_from_slice(&piece[..len]),
        }
        *answered |= deliver(&mut received, shared)?;
    }
}

/// Waits until a command has waited too long for its reply.
async fn watch(shared: &Shared) -> Result<Infallible, String> {
    loop {
        match shared.deadline() {
            None => shared.first.notified().await,
            Some(deadline) if deadline <= Instant::now() => return Err(format!("no reply within {REPLY_TIME_MAX:?}")),
            Some(deadline) => sleep_until(deadline).await,
        }
    }
}

/// Hands on every whole reply. Whether there was one.
fn deliver(received: &mut Vec<u8>, shared: &Shared) -> Result<bool, String> {
    let mut start = 0;
    while let Some((reply, len)) = parse(&received[start..]).map_err(|Malformed(what)| format!("it sent {what}"))? {
        start += len;
        if !shared.answer(reply) {
            return Err("it sent a reply that nobody asked for".into());
        }
    }
    received.drain(..start);
    Ok(start > 0)
}
