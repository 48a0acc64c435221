//! What the machine sees of its network, and its way out, for tests to ask.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt::Display;
use unikernel_http::{Path, State};
use unikernel_net::{Read, Stack};
use unikernel_rt::time::unix_time;

use crate::Shared;

/// Datagrams to this port come back.
pub const ECHO_PORT: u16 = 7;

/// The largest page that `/fetch` takes from somebody else.
const PAGE_LEN_MAX: usize = 1 << 20;

pub async fn addresses(State(site): State<Shared>) -> String {
    lines(&site.stack.addresses())
}

/// The addresses of a name, or why there are none.
pub async fn lookup(State(site): State<Shared>, Path(name): Path<String>) -> String {
    site.stack.lookup(&name).await.map_or_else(|error| error.to_string(), |addresses| lines(&addresses))
}

/// What a server says to who connects, or why there is no connection.
pub async fn fetch(State(site): State<Shared>, Path((host, port)): Path<(String, u16)>) -> String {
    match site.stack.connect_host(&host, port).await {
        Ok(stream) => page(stream).await,
        Err(error) => error.to_string(),
    }
}

async fn page(mut stream: impl Read) -> String {
    let mut page = Vec::new();
    let mut part = vec![0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut part).await {
        if page.len() + len > PAGE_LEN_MAX {
            break;
        }
        page.extend_from_slice(&part[..len]);
    }
    String::from_utf8_lossy(&page).into_owned()
}

/// Counters by name, one in a line.
pub async fn counters(State(site): State<Shared>) -> String {
    let stats = site.stack.stats();
    format!(
        "flows {}\nhalf_open {}\ncookies {}\naccepted {}\nretransmits {}\n",
        stats.flows, stats.by_state.half_open, stats.cookies, stats.accepted, stats.retransmits
    )
}

/// Seconds since 1970.
pub async fn time() -> String {
    unix_time().as_secs().to_string()
}

/// Sends datagrams back to where they come from.
pub async fn echo_datagrams(stack: Stack) -> unikernel_rt::Result<()> {
    let socket = stack.udp(ECHO_PORT)?;
    let mut buffer = vec![0; 2048];
    loop {
        let datagram = socket.recv_from(&mut buffer).await;
        // One that cannot be sent is lost, as on any network.
        let _ = socket.send_to(&buffer[..datagram.len], datagram.from).await;
    }
}

fn lines(items: &[impl Display]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}
