//! Where addresses come from and what they are good for, over QEMU's own network.

use e2e::{
    PATIENCE,
    client::{self, PAUSE},
    vm::{Vm, free_port},
};
use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Asks until the answer is as wanted: addresses of the second family come when they come.
fn ask_until(port: u16, path: &str, wanted: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = text(port, path);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{path}: {answer}");
        thread::sleep(PAUSE);
    }
}

fn text(port: u16, path: &str) -> String {
    String::from_utf8(client::get(port, path).body).unwrap()
}

/// A server on this computer that says one thing to each who comes, and its port.
fn says_hello(listener: TcpListener) -> u16 {
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"hello"))));
    port
}

/// QEMU announces fec0::/64, and leads fec0::2 to this computer's own ::1.
#[test]
fn both_families() {
    let there4 = says_hello(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let there6 = says_hello(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap());
    let vm = Vm::serving("e2e-guest", "");
    let addresses = ask_until(vm.port, "/addresses", |addresses| addresses.contains(':'));
    assert!(addresses.contains("10.0.2.15\n") && addresses.contains("fec0::"), "{addresses}");
    assert_eq!(text(vm.port, &format!("/fetch/10.0.2.2/{there4}")), "hello");
    assert_eq!(text(vm.port, &format!("/fetch/fec0::2/{there6}")), "hello");
}

#[test]
fn ipv4_alone() {
    let vm = Vm::serving("e2e-guest", "ip6=off");
    assert_eq!(text(vm.port, "/addresses"), "10.0.2.15\n");
    let refused = text(vm.port, "/fetch/fec0::2/80");
    assert!(refused.contains("no way") || refused.contains("no address"), "{refused}");
}

#[test]
fn static_addresses() {
    let vm = Vm::serving("e2e-guest", "ip=10.0.2.15/24 gw=10.0.2.2 ip6=fec0::77/64 gw6=fec0::2");
    // A second later than the other: it asks first whether another machine has it (RFC 4862, 5.4).
    vm.says("network: address fec0::77");
    assert_eq!(text(vm.port, "/addresses"), "10.0.2.15\nfec0::77\n");
    let there6 = says_hello(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap());
    assert_eq!(text(vm.port, &format!("/fetch/fec0::2/{there6}")), "hello");
}

/// Requests come in by each, and each answer leaves where its request came from.
#[test]
fn three_network_ports() {
    let (second, third) = (free_port(), free_port());
    let netdev = |number: u8, port: u16| {
        format!(
            "-netdev user,id=n{number},net=10.0.{number}.0/24,hostfwd=tcp:127.0.0.1:{port}-10.0.{number}.15:8080 \
             -device virtio-net-pci,netdev=n{number},romfile="
        )
    };
    let qemu = format!("{} {}", netdev(3, second), netdev(4, third));
    let words = "ip6=off net1.ip=10.0.3.15/24 net1.ip6=off net2.ip=10.0.4.15/24 net2.ip6=off";
    let vm = Vm::serving_with("e2e-guest", words, &qemu);
    for port in [vm.port, second, third] {
        assert_eq!(text(port, "/addresses"), "10.0.2.15\n10.0.3.15\n10.0.4.15\n");
    }
    let there = says_hello(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    for router in ["10.0.2.2", "10.0.3.2", "10.0.4.2"] {
        assert_eq!(text(vm.port, &format!("/fetch/{router}/{there}")), "hello", "{router}");
    }
}

#[test]
fn datagrams_come_back() {
    let vm = Vm::serving("e2e-guest", "--port 0:7/udp --port 127.0.0.2:0:8080 --port 0.0.0.0:0:8080");
    let chosen = |place: &str, leads_to: &str| -> u16 {
        let said = vm.said();
        let parts = said.split(&format!("unikernel: {place}:")).nth(1).and_then(|rest| rest.split_once(leads_to));
        parts.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap()
    };
    let echo = chosen("localhost", "/udp leads to port 7 of the machine\n");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((Ipv4Addr::LOCALHOST, echo)).unwrap();
    for len in [0, 1, 512, 1472] {
        let sent: Vec<u8> = (0..len).map(|index| index as u8).collect();
        socket.send(&sent).unwrap();
        let mut received = [0; 2048];
        let received_len = socket.recv(&mut received).unwrap();
        assert_eq!(received[..received_len], sent, "{len} bytes");
    }
    // On one address, and on all.
    let http = " leads to port 8080 of the machine\n";
    let (one, all) = (chosen("127.0.0.2", http), chosen("0.0.0.0", http));
    for (address, port, is_there) in
        [([127, 0, 0, 2], one, true), ([127, 0, 0, 1], one, false), ([127, 0, 0, 3], all, true)]
    {
        let connected = TcpStream::connect((Ipv4Addr::from(address), port));
        assert_eq!(connected.is_ok(), is_there, "{address:?}:{port}");
    }
    assert_eq!(client::get(all, "/number/7").body, b"7");
}

/// The machine's clock chip says what this computer's does, to the second.
#[test]
fn the_time_is_right() {
    let vm = Vm::serving("e2e-guest", "");
    let here = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = here();
    let there: u64 = text(vm.port, "/time").parse().unwrap();
    // The chip counts whole seconds.
    assert!((before - 2..=here() + 2).contains(&there), "{before} here, {there} there");
}
