//! Listings of the page "Connecting out".

use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use futures_util::StreamExt;
use unikernel_http::client::{Client, Error, Limits, Proxy};
use unikernel_net::{ConnectError, Read, Stack, Write};
use unikernel_rt::{
    Result,
    time::{Duration, timeout},
};

/// Sends a question to a host and prints nothing: the page is about the connection.
// ANCHOR: tcp
pub async fn ask(stack: &Stack, host: &str) -> Result<String> {
    let mut stream = stack.connect_host(host, 7).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
// ANCHOR_END: tcp

/// Connects to an address, in less time than `connect` would take.
// ANCHOR: address
pub async fn is_up(stack: &Stack, peer: SocketAddr) -> bool {
    // Dropping the future gives the attempt up, so a time limit is one around it.
    matches!(timeout(Duration::from_secs(2), stack.connect(peer)).await, Ok(Ok(_)))
}
// ANCHOR_END: address

/// What to do about a connection that was not made.
// ANCHOR: errors
pub fn is_worth_another_try(error: &ConnectError) -> bool {
    match error {
        ConnectError::Refused | ConnectError::TimedOut | ConnectError::TooManyConnections => true,
        ConnectError::NotConfigured | ConnectError::Unreachable | ConnectError::Name(_) => false,
    }
}
// ANCHOR_END: errors

/// A connection that lies idle for hours.
// ANCHOR: idle
pub async fn subscribe(stack: &Stack, broker: &str) -> Result<unikernel_net::Stream> {
    let mut stream = stack.connect_host(broker, 1883).await?;
    stream.set_keep_alive(Some(Duration::from_secs(60)));
    stream.set_user_timeout(Some(Duration::from_secs(20)));
    Ok(stream)
}
// ANCHOR_END: idle

/// A question and an answer in datagrams.
// ANCHOR: udp
pub async fn ping(stack: &Stack, peer: SocketAddr) -> Result<usize> {
    let socket = stack.udp(0)?;
    socket.send_to(b"ping", peer).await?;
    let mut buffer = [0; 512];
    loop {
        let datagram = socket.recv_from(&mut buffer).await;
        if datagram.from == peer {
            return Ok(datagram.len);
        }
    }
}
// ANCHOR_END: udp

/// Hears what is sent to a group.
// ANCHOR: group
pub async fn listen_to_mdns(stack: &Stack) -> Result<SocketAddr> {
    let socket = stack.udp(5353)?;
    socket.join(IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)))?;
    let mut buffer = [0; 1472];
    Ok(socket.recv_from(&mut buffer).await.from)
}
// ANCHOR_END: group

/// A client for plain HTTP.
// ANCHOR: http
pub async fn greeting(stack: &Stack) -> Result<String, Error> {
    let client = Client::new(stack.clone());
    client.get("http://api.example.org/greeting").send().await?.error_for_status()?.text().await
}
// ANCHOR_END: http

/// A client with bounds of its own, behind a proxy.
// ANCHOR: client
pub fn client(stack: &Stack) -> Result<Client> {
    let limits = Limits { total_timeout: Duration::from_secs(20), redirects_max: 0, ..Limits::default() };
    let proxy = Proxy::new("http://proxy.example.org:3128")?;
    Ok(Client::builder(stack.clone()).limits(limits).proxy(proxy).build())
}
// ANCHOR_END: client

/// Reads a body piece by piece.
// ANCHOR: stream
pub async fn count(client: &Client, url: &str) -> Result<usize> {
    let mut body = client.get(url).send().await?.into_body();
    let mut total = 0;
    while let Some(piece) = body.next().await {
        total += piece?.len();
    }
    Ok(total)
}
// ANCHOR_END: stream

/// Speaks through the traits that third-party crates know.
// ANCHOR: nal
pub async fn greet<T: embedded_nal_async::TcpConnect>(network: &T, peer: SocketAddr) -> Result<(), T::Error> {
    let mut connection = network.connect(peer).await?;
    connection.write_all(b"hello").await
}

/// A [`Stack`] is such a network as it is.
pub async fn greet_over(stack: &Stack, peer: SocketAddr) -> Result<()> {
    greet(stack, peer).await?;
    Ok(())
}
// ANCHOR_END: nal
