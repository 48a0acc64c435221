//! UDP, both families, groups, fragments, several ports: through whole stacks on a hub.

mod common;
use common::{raw, *};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use unikernel_net::{
    Addressing, Addressing6, Config, Ipv4Cidr, Ipv6Cidr, JoinError, PortConfig, Read, SendError, Stack, Write,
};
use unikernel_rt::{
    device::{Frame, NetDevice},
    sim::{Faults, Nic, cable, hub},
    time::{Duration, sleep, timeout},
};

fn address6(host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host)
}

/// Both families, given by hand.
fn dual(host: u8) -> Config {
    let v4 = Addressing::Static { address: Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, host), 24).unwrap(), gateway: None };
    let v6 = Addressing6::Static { address: Ipv6Cidr::new(address6(host.into()), 64).unwrap(), gateway: None };
    Config { ports: vec![PortConfig { v4, v6 }], ..Config::default() }
}

/// Two stacks that have finished looking for duplicates of their IPv6 addresses.
async fn pair(faults: Faults) -> (Stack, Stack) {
    let (left, right) = cable(faults);
    let stacks = (Stack::new(Box::new(left), dual(1)), Stack::new(Box::new(right), dual(2)));
    while stacks.0.addresses().len() < 2 || stacks.1.addresses().len() < 2 {
        sleep(Duration::from_millis(100)).await;
    }
    stacks
}

async fn check_echo(to: IpAddr) {
    let (client, server) = pair(Faults::NONE).await;
    let (ours, theirs) = (client.udp(0).unwrap(), server.udp(7).unwrap());
    ours.send_to(b"hello", SocketAddr::new(to, 7)).await.unwrap();
    let mut bytes = [0; 3];
    let came = theirs.recv_from(&mut bytes).await;
    assert_eq!((&bytes[..], came.len, came.whole_len, came.to), (&b"hel"[..], 3, 5, to));
    assert_eq!(came.from.port(), ours.local_port());
    theirs.send_to(b"you", came.from).await.unwrap();
    let answer = ours.recv_from(&mut bytes).await;
    assert_eq!((&bytes[..answer.len], answer.from), (&b"you"[..], SocketAddr::new(to, 7)));
}

#[unikernel_rt::test]
async fn over_ipv4() {
    check_echo(SERVER.into()).await
}

#[unikernel_rt::test]
async fn over_ipv6() {
    check_echo(address6(2).into()).await
}

#[unikernel_rt::test]
async fn to_everybody() {
    let (client, server) = pair(Faults::NONE).await;
    let (ours, theirs) = (client.udp(0).unwrap(), server.udp(7).unwrap());
    for to in ["255.255.255.255:7", "10.0.0.255:7"] {
        ours.send_to(b"all", to.parse().unwrap()).await.unwrap();
        assert_eq!(theirs.recv_from(&mut [0; 10]).await.to, to.parse::<SocketAddr>().unwrap().ip());
    }
}

async fn check_group(group: &str) {
    let (client, server) = pair(Faults::NONE).await;
    let group: IpAddr = group.parse().unwrap();
    let (ours, theirs) = (client.udp(0).unwrap(), server.udp(7).unwrap());
    let to = SocketAddr::new(group, 7);
    let mut bytes = [0; 10];
    ours.send_to(b"early", to).await.unwrap();
    assert!(timeout(Duration::from_secs(1), theirs.recv_from(&mut bytes)).await.is_err(), "not joined yet");
    theirs.join(group).unwrap();
    ours.send_to(b"now", to).await.unwrap();
    assert_eq!(theirs.recv_from(&mut bytes).await.to, group);
    theirs.leave(group);
    ours.send_to(b"late", to).await.unwrap();
    assert!(timeout(Duration::from_secs(1), theirs.recv_from(&mut bytes)).await.is_err(), "left");
}

#[unikernel_rt::test]
async fn to_a_group() {
    check_group("239.1.2.3").await
}

#[unikernel_rt::test]
async fn to_a_group_of_ipv6() {
    check_group("ff05::1:3").await
}

#[unikernel_rt::test]
async fn what_cannot_be_sent() {
    let (client, _server) = pair(Faults::NONE).await;
    let socket = client.udp(5000).unwrap();
    let long = vec![0; 1473];
    assert_eq!(socket.send_to(&long, at(7)).await, Err(SendError::TooLong { len: 1473, max: 1472 }));
    assert_eq!(socket.send_to(&long[..1472], at(7)).await, Ok(()));
    assert_eq!(socket.send_to(b"", "11.0.0.1:7".parse().unwrap()).await, Err(SendError::Unreachable));
    assert_eq!(socket.send_to(b"", "10.0.0.2:0".parse().unwrap()).await, Err(SendError::Unreachable));
    assert_eq!(socket.join(SERVER.into()), Err(JoinError::NotMulticast));
    assert!(client.udp(5000).is_err(), "the port is in use");
    drop(socket);
    assert!(client.udp(5000).is_ok());
    assert!(client.udp(68).is_err(), "DHCP's");
}

#[unikernel_rt::test]
async fn a_socket_nobody_reads_holds_so_much_and_no_more() {
    let (client, server) = pair(Faults::NONE).await;
    let (ours, theirs) = (client.udp(0).unwrap(), server.udp(7).unwrap());
    for number in 0..1000_u32 {
        ours.send_to(&number.to_be_bytes(), at(7)).await.unwrap();
        sleep(Duration::from_micros(10)).await;
    }
    let dropped = server.stats().drops.datagrams;
    assert!((500..1000).contains(&dropped), "{dropped}");
    let mut bytes = [0; 4];
    theirs.recv_from(&mut bytes).await;
    assert_eq!(bytes, [0; 4], "the oldest are kept");
}

/// A datagram to port 7 of the server in fragments; the pieces in the order of `order`.
async fn check_fragments(order: &[usize], arrives: bool) {
    let (mut port, server) = server_and_port(fixed(SERVER));
    let socket = server.udp(7).unwrap();
    let data = data(4000, 1);
    let whole = raw::udp((CLIENT, 9), (SERVER, 7), raw::SERVER_MAC, &data);
    let payload = &whole[34..];
    let pieces: Vec<(usize, &[u8], bool)> =
        payload.chunks(1480).enumerate().map(|(n, piece)| (n * 185, piece, n < 2)).collect();
    for &index in order {
        let (offset, piece, more) = pieces[index];
        let mut ip = raw::ipv4(CLIENT, SERVER, 17, piece);
        let field = offset as u16 | if more { 0x2000 } else { 0 };
        ip[4..6].copy_from_slice(&[0x12, 0x34]);
        ip[6..8].copy_from_slice(&field.to_be_bytes());
        ip[10..12].fill(0);
        let sum = !raw::sum(&[&ip[..20]]);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        port.transmit(Frame::from_bytes(&raw::ethernet(raw::SERVER_MAC, 0x0800, &ip))).unwrap();
    }
    let mut bytes = vec![0; 5000];
    let came = timeout(Duration::from_secs(1), socket.recv_from(&mut bytes)).await;
    match came {
        Ok(came) => assert!(arrives && bytes[..came.len] == data),
        Err(_) => assert!(!arrives, "{order:?}"),
    }
    sleep(Duration::from_secs(20)).await;
}

#[unikernel_rt::test]
async fn fragments_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        check_fragments(&order, true).await;
    }
    check_fragments(&[0, 0, 1, 1, 2], true).await;
}

#[unikernel_rt::test]
async fn fragments_that_are_missing() {
    check_fragments(&[0, 2], false).await;
    check_fragments(&[1], false).await;
}

#[unikernel_rt::test]
async fn streams_over_ipv6() {
    for (faults, len) in [(Faults::NONE, 300_000), (bad(30, 9), 60_000)] {
        let (client, server) = pair(Faults { corrupt: 0, ..faults }).await;
        serve_echo(&server, 7);
        let sent = data(len, 5);
        let stream = client.connect(SocketAddr::new(address6(2).into(), 7)).await.unwrap();
        assert!(stream.peer().is_ipv6() && stream.local().ip() == IpAddr::from(address6(1)));
        let (mut reader, mut writer) = stream.split();
        let copy = sent.clone();
        unikernel_rt::spawn(async move { writer.write_all(&copy).await });
        assert!(read_all_of(&mut reader, len).await == sent);
        drop(reader);
        settled(&[&client, &server]).await;
    }
}

/// Network cards that cut and merge, in every combination of faults but corruption, which such a card would notice.
#[unikernel_rt::test]
async fn cards_that_cut_and_merge() {
    for seed in 0..30 {
        let (left, right) = cable(Faults { corrupt: 0, ..bad((seed % 4) as u16 * 20, seed) });
        let nic = Nic::VIRTIO;
        let client = Stack::new(Box::new(left.with_nic(nic)), fixed(CLIENT));
        let server = Stack::new(Box::new(right.with_nic(nic)), fixed(SERVER));
        serve_echo(&server, 7);
        let sent = data(200_000, seed);
        let (mut reader, mut writer) = connect_patiently(&client, 7).await.split();
        let copy = sent.clone();
        unikernel_rt::spawn(async move { writer.write_all(&copy).await });
        assert!(read_all_of(&mut reader, sent.len()).await == sent, "seed {seed}");
        drop(reader);
        settled(&[&client, &server]).await;
    }
}

async fn read_all_of(reader: &mut impl Read<Error = unikernel_net::Error>, len: usize) -> Vec<u8> {
    let mut all = vec![0; len];
    let mut have = 0;
    while have < len {
        match reader.read(&mut all[have..]).await.unwrap() {
            0 => break,
            more => have += more,
        }
    }
    all.truncate(have);
    all
}

/// A machine with two ports reaches each network over the right one, and answers from the right address.
#[unikernel_rt::test]
async fn two_ports_and_their_routes() {
    let port = |network: u8, host: u8, gateway: Option<u8>| PortConfig {
        v4: Addressing::Static {
            address: Ipv4Cidr::new(Ipv4Addr::new(10, 0, network, host), 24).unwrap(),
            gateway: gateway.map(|host| Ipv4Addr::new(10, 0, network, host)),
        },
        v6: Addressing6::Off,
    };
    let alone = |port: PortConfig| Config { ports: vec![port], ..Config::default() };
    let (mut first, mut second) = (hub(2, Faults::NONE), hub(2, Faults::NONE));
    let (a, b) = (first.pop().unwrap(), second.pop().unwrap());
    let both = Config { ports: vec![port(1, 1, None), port(2, 1, Some(2))], ..Config::default() };
    let machine = Stack::with_ports(vec![Box::new(a), Box::new(b)], both);
    let left = Stack::new(Box::new(first.pop().unwrap()), alone(port(1, 2, Some(1))));
    let right = Stack::new(Box::new(second.pop().unwrap()), alone(port(2, 2, Some(1))));
    for (stack, network) in [(&left, 1), (&right, 2)] {
        serve_echo(stack, 7);
        let stream = machine.connect(SocketAddr::new(Ipv4Addr::new(10, 0, network, 2).into(), 7)).await.unwrap();
        assert_eq!(stream.local().ip(), Ipv4Addr::new(10, 0, network, 1));
    }
    let mut listener = machine.listen(80).unwrap();
    for (stack, network) in [(&left, 1), (&right, 2)] {
        let mut ours = stack.connect(SocketAddr::new(Ipv4Addr::new(10, 0, network, 1).into(), 80)).await.unwrap();
        let mut theirs = listener.accept().await;
        theirs.write_all(b"hi").await.unwrap();
        assert_eq!(ours.read(&mut [0; 4]).await, Ok(2));
    }
    // An address of one port is not there on the other (the strong model of RFC 1122, 3.3.4.2).
    let other = SocketAddr::new(Ipv4Addr::new(10, 0, 2, 1).into(), 80);
    assert!(timeout(Duration::from_secs(5), left.connect(other)).await.is_err());
    // What is on no network goes over the port with the gateway.
    let socket = machine.udp(0).unwrap();
    assert_eq!(socket.send_to(b"out", "192.0.2.1:9".parse().unwrap()).await, Ok(()));
}
