//! The traits of `embedded-nal-async`, used the way a crate does that knows nothing but them.

mod common;
use common::*;
use embedded_nal_async::{AddrType, ConnectedUdp, Dns, TcpConnect, UdpStack, UnconnectedUdp};
use std::net::{IpAddr, SocketAddr};
use unikernel_net::{
    ConnectError, Error, ListenError, LookupError, Read, SendError, Stack, Write,
    nal::{BoundUdp, NalError},
};
use unikernel_rt::{sim::Faults, time::Duration, time::timeout};

const ANY: &str = "0.0.0.0:0";
const SOON: Duration = Duration::from_millis(100);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Sends and reads back through any stack that can connect.
async fn round_trip<T: TcpConnect>(stack: &T, peer: SocketAddr, data: &[u8]) -> Result<Vec<u8>, T::Error> {
    let mut connection = stack.connect(peer).await?;
    connection.write_all(data).await?;
    connection.flush().await?;
    let mut back = vec![0; data.len()];
    let mut filled = 0;
    while filled < back.len() {
        match connection.read(&mut back[filled..]).await? {
            0 => break,
            len => filled += len,
        }
    }
    back.truncate(filled);
    Ok(back)
}

#[unikernel_rt::test]
async fn a_connection_carries_bytes_both_ways() {
    let (client, server) = stacks(Faults::NONE);
    serve_echo(&server, 7);
    let sent = data(100_000, 1);
    unikernel_rt::time::sleep(SOON).await;
    assert_eq!(round_trip(&client, at(7), &sent[..3000]).await.unwrap(), &sent[..3000]);
    assert_eq!(round_trip(&&client, at(7), b"by reference").await.unwrap(), b"by reference");
}

#[unikernel_rt::test]
async fn what_failed_is_told() {
    let (client, server) = stacks(Faults::NONE);
    let refused = round_trip(&client, at(8), b"x").await.unwrap_err();
    assert_eq!(refused, NalError::Connect(ConnectError::Refused));
    assert_eq!(embedded_io_async::Error::kind(&refused), embedded_io_async::ErrorKind::ConnectionRefused);
    let mut listener = server.listen(9).unwrap();
    unikernel_rt::spawn(async move { listener.accept().await.abort() });
    let reset = round_trip(&client, at(9), b"x").await.unwrap_err();
    assert_eq!(reset, NalError::Stream(Error::Reset));
}

#[unikernel_rt::test]
async fn an_answer_comes_from_the_address_that_was_asked() {
    let (client, server) = stacks(Faults::NONE);
    let mut bound = server.bind_multiple(address("0.0.0.0:5000")).await.unwrap();
    let (local, mut connected) = UdpStack::connect(&client, at(5000)).await.unwrap();
    assert_eq!(local.ip(), IpAddr::from(CLIENT));
    connected.send(b"question").await.unwrap();
    let mut buffer = [0; 100];
    let (len, to, from) = bound.receive_into(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..len], to, from), (&b"question"[..], at(5000), local));
    bound.send(to, from, b"answer").await.unwrap();
    let len = connected.receive_into(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..len], b"answer");
}

#[unikernel_rt::test]
async fn a_connected_socket_hears_its_peer_only() {
    let (client, server) = stacks(Faults::NONE);
    let (local, mut connected) = client.connect_from(address("10.0.0.1:6000"), at(5000)).await.unwrap();
    assert_eq!(local, address("10.0.0.1:6000"));
    let (_, mut stranger) = server.bind_single(address("0.0.0.0:5001")).await.unwrap();
    let (_, mut peer) = server.bind_single(at(5000)).await.unwrap();
    stranger.send(address(ANY), local, b"from a stranger").await.unwrap();
    peer.send(at(5000), local, b"from the peer").await.unwrap();
    let mut buffer = [0; 6];
    // The whole length, of which the buffer holds a part.
    assert_eq!(connected.receive_into(&mut buffer).await.unwrap(), 13);
    assert_eq!(&buffer, b"from t");
    stranger.send(address(ANY), local, b"again").await.unwrap();
    assert!(timeout(SOON, connected.receive_into(&mut buffer)).await.is_err());
}

/// The error of a socket that cannot be.
fn check(result: Result<(SocketAddr, BoundUdp), NalError>, expected: NalError) {
    assert_eq!(result.unwrap_err(), expected);
}

#[unikernel_rt::test]
async fn addresses_that_are_not_ours_are_refused() {
    let (client, _server) = stacks(Faults::NONE);
    let other = address("10.0.0.77:0");
    check(client.bind_single(other).await, NalError::NotOurs(other.ip()));
    let v6 = address("[fd00::1]:0");
    check(client.bind_single(v6).await, NalError::NotOurs(v6.ip()));
    let (local, mut bound) = client.bind_single(address(ANY)).await.unwrap();
    assert_eq!(bound.send(other, at(1), b"x").await, Err(NalError::NotOurs(other.ip())));
    check(client.bind_single(local).await, NalError::Bind(ListenError::PortInUse(local.port())));
    let mut any = client.bind_multiple(address(ANY)).await.unwrap();
    assert_eq!(any.send(other, at(1), b"x").await, Err(NalError::Send(SendError::Unreachable)));
}

#[unikernel_rt::test]
async fn names_are_asked_for_by_family() {
    let (client, _server) = stacks(Faults::NONE);
    let by_name = async |stack: &Stack, host: &str, family| stack.get_host_by_name(host, family).await;
    let v4 = IpAddr::from(SERVER);
    assert_eq!(by_name(&client, "10.0.0.2", AddrType::Either).await, Ok(v4));
    assert_eq!(by_name(&client, "10.0.0.2", AddrType::IPv4).await, Ok(v4));
    let none = Err(NalError::Lookup(LookupError::NoAddress));
    assert_eq!(by_name(&client, "10.0.0.2", AddrType::IPv6).await, none);
    let no_server = Err(NalError::Lookup(LookupError::NoServer));
    assert_eq!(by_name(&client, "redis.lab", AddrType::Either).await, no_server);
    assert_eq!(client.get_host_by_address(v4, &mut [0; 255]).await, Err(NalError::NoReverseLookup));
}
