//! The service of {{project-name}}: it answers each line with the number of its words.
//!
//! It stands in a library, so that tests reach it: on the workstation and in the machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use core::pin::pin;
use unikernel_http::{Health, Router};
use unikernel_net::{Error, Listener, Read, Stream, Write};
use unikernel_rt::{
    future::{Either, select},
    lifecycle,
    log::info,
    metrics::Counter,
    spawn,
    sync::{Permit, Semaphore},
    time::{Duration, timeout},
};

/// More clients wait until one goes, and `/readyz` sends them elsewhere.
pub const CLIENTS_MAX: usize = 1000;
/// A line beyond this ends its connection.
pub const LINE_LEN_MAX: usize = 1024;
/// A client that sends no line for so long has gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

static LINES: Counter = Counter::new("lines_total", "Lines that were answered.");
static CLIENTS: Counter = Counter::new("clients_total", "Clients that came.");

/// Serves clients until the machine is asked to stop, and each of them until its line is answered.
pub async fn run(mut listener: Listener, room: Semaphore) {
    let mut stopping = pin!(lifecycle::stopping());
    loop {
        let next = async {
            let place = room.acquire().await;
            (listener.accept().await, place)
        };
        match select(pin!(next), stopping.as_mut()).await {
            Either::Left(((stream, place), _)) => {
                CLIENTS.increment();
                spawn(serve(stream, place));
            }
            Either::Right(_) => break,
        }
    }
    info!("no new clients, as the machine stops");
}

/// Serves one client until it goes, is silent for too long or sends a line that is too long.
async fn serve(mut stream: Stream, _place: Permit) -> Result<(), Error> {
    let mut line = [0; LINE_LEN_MAX];
    let mut len = 0;
    loop {
        match timeout(SILENCE_MAX, stream.read(&mut line[len..])).await {
            Ok(Ok(new @ 1..)) => len += new,
            Ok(Err(error)) => return Err(error),
            // The client has closed its side or sent a line without end, or nothing at all.
            Ok(Ok(0)) | Err(_) => return Ok(()),
        }
        while let Some(end) = line[..len].iter().position(|byte| *byte == b'\n') {
            // A machine that stops waits until this is dropped.
            let _busy = lifecycle::busy();
            let answer = format!("{}\n", count_words(&line[..end]));
            stream.write_all(answer.as_bytes()).await?;
            LINES.increment();
            line.copy_within(end + 1..len, 0);
            len -= end + 1;
        }
    }
}

/// How many words there are, with white space between them.
pub fn count_words(line: &[u8]) -> usize {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .count()
}

/// `/healthz`, `/readyz` and `/metrics`, for those who look after the machine.
pub fn admin(room: Semaphore) -> Router {
    let health = Health::new().check("room for clients", move || room.available() > 0);
    health.router().merge(unikernel_http::metrics::router())
}
