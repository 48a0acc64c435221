//! The machine's address: from a scripted DHCP server, and from boot arguments.

mod common;
use common::{
    raw::{BROADCAST_MAC, udp},
    *,
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::Ipv4Addr,
    rc::Rc,
};
use unikernel_net::{Addressing, Addressing6, Config, ConnectError, Ipv4Cidr, PortConfig, Stack};
use unikernel_rt::{
    Acquire, Machine,
    device::NetDevice,
    sim::{Faults, SimPort, cable},
    time::{Duration, Instant, sleep},
};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACKNOWLEDGE: u8 = 5;
const REFUSE: u8 = 6;

/// What the server does; the test changes it while it runs.
struct Script {
    /// Ignores what comes before.
    silent_until: Cell<Instant>,
    address: Cell<Ipv4Addr>,
    lease: Duration,
    refuses: Cell<bool>,
    /// (When, message type), as it came.
    seen: RefCell<Vec<(Instant, u8)>>,
}

impl Script {
    fn new(lease: Duration) -> Rc<Script> {
        Rc::new(Script {
            silent_until: Cell::new(Instant::from_micros(0)),
            address: Cell::new(SERVER),
            lease,
            refuses: Cell::new(false),
            seen: RefCell::default(),
        })
    }

    fn answer(&self, question: &[u8]) -> Option<Vec<u8>> {
        let kind = *question[240..].windows(3).find(|option| option[..2] == [53, 1]).map(|option| &option[2])?;
        self.seen.borrow_mut().push((Instant::now(), kind));
        if Instant::now() < self.silent_until.get() {
            return None;
        }
        let kind = match kind {
            DISCOVER => OFFER,
            REQUEST if self.refuses.get() => REFUSE,
            REQUEST => ACKNOWLEDGE,
            _ => return None,
        };
        let mut answer = question[..240].to_vec();
        answer[0] = 2;
        answer[16..20].copy_from_slice(&self.address.get().octets());
        answer.extend([53, 1, kind, 54, 4]);
        answer.extend(GATEWAY.octets());
        if kind != REFUSE {
            answer.extend([51, 4]);
            answer.extend((self.lease.as_secs() as u32).to_be_bytes());
            answer.extend([1, 4, 255, 255, 255, 0, 3, 4]);
            answer.extend(GATEWAY.octets());
        }
        answer.push(255);
        Some(answer)
    }
}

/// Answers DHCP, and ARP for itself, on `port`.
async fn serve(mut port: SimPort, script: Rc<Script>) {
    loop {
        poll_fn(|cx| port.poll_ready(cx)).await;
        while let Some(frame) = port.receive() {
            let answer = if frame[12..14] == [8, 6] {
                arp_answer(&frame)
            } else if frame.len() > 282 && frame[36..38] == [0, 67] {
                script
                    .answer(&frame[42..])
                    .map(|answer| udp((GATEWAY, 67), (Ipv4Addr::BROADCAST, 68), BROADCAST_MAC, &answer))
            } else {
                None
            };
            if let Some(answer) = answer {
                let _ = port.transmit(answer);
            }
        }
    }
}

fn arp_answer(question: &[u8]) -> Option<unikernel_rt::device::Frame> {
    if question[21] != 1 || question[38..42] != GATEWAY.octets() {
        return None;
    }
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 2];
    arp.extend(raw::CLIENT_MAC);
    arp.extend(GATEWAY.octets());
    arp.extend(&question[22..32]);
    Some(unikernel_rt::device::Frame::from_bytes(&raw::ethernet(question[6..12].try_into().unwrap(), 0x0806, &arp)))
}

/// IPv6 would fill the cable with its own questions.
fn dhcp_only() -> Config {
    Config { ports: vec![PortConfig { v6: Addressing6::Off, ..PortConfig::default() }], ..Config::default() }
}

fn dhcp_stack(script: &Rc<Script>) -> Stack {
    let (left, right) = cable(Faults::NONE);
    unikernel_rt::spawn(serve(left, script.clone()));
    Stack::new(Box::new(right), dhcp_only())
}

#[unikernel_rt::test]
async fn a_lease_is_taken_and_renewed() {
    let script = Script::new(Duration::from_secs(600));
    let stack = dhcp_stack(&script);
    assert!(stack.addresses().is_empty());
    stack.configured().await;
    assert_eq!(stack.addresses(), [SERVER]);
    assert!(Instant::now() < Instant::from_millis(100));
    sleep(Duration::from_secs(10_000)).await;
    assert_eq!(stack.addresses(), [SERVER]);
    let kinds: Vec<u8> = script.seen.borrow().iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds[..2], [DISCOVER, REQUEST]);
    assert!(kinds.len() > 20 && kinds[2..].iter().all(|kind| *kind == REQUEST), "{kinds:?}");
}

#[unikernel_rt::test]
async fn a_silent_server_is_asked_until_it_answers() {
    let script = Script::new(Duration::from_secs(600));
    script.silent_until.set(Instant::from_millis(60_000));
    let stack = dhcp_stack(&script);
    // The application does not wait for the address.
    let listener = stack.listen(80).unwrap();
    assert_eq!(listener.local_port(), 80);
    stack.configured().await;
    assert!(Instant::now() >= Instant::from_millis(60_000) && Instant::now() < Instant::from_millis(80_000));
    assert!(script.seen.borrow().len() >= 6);
}

#[unikernel_rt::test]
async fn a_lease_that_is_refused_is_asked_for_anew() {
    let script = Script::new(Duration::from_secs(600));
    let stack = dhcp_stack(&script);
    stack.configured().await;
    script.refuses.set(true);
    sleep(Duration::from_secs(400)).await;
    assert!(stack.addresses().is_empty());
    script.refuses.set(false);
    script.address.set(Ipv4Addr::new(10, 0, 0, 9));
    stack.configured().await;
    assert_eq!(stack.addresses(), [Ipv4Addr::new(10, 0, 0, 9)]);
}

#[unikernel_rt::test]
async fn a_lease_that_cannot_be_renewed_ends() {
    let script = Script::new(Duration::from_secs(600));
    let stack = dhcp_stack(&script);
    stack.configured().await;
    script.silent_until.set(Instant::from_millis(2_000_000));
    sleep(Duration::from_secs(590)).await;
    assert_eq!(stack.addresses().len(), 1);
    sleep(Duration::from_secs(30)).await;
    assert!(stack.addresses().is_empty());
    stack.configured().await;
}

/// A server that offers what no host can have.
async fn check_offer(address: Ipv4Addr) {
    let script = Script::new(Duration::from_secs(600));
    script.address.set(address);
    let stack = dhcp_stack(&script);
    sleep(Duration::from_secs(100)).await;
    assert!(stack.addresses().is_empty(), "{address}");
}

#[unikernel_rt::test]
async fn offers_that_are_no_addresses() {
    for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "10.0.0.255", "10.0.0.0", "240.0.0.1"] {
        check_offer(address.parse().unwrap()).await;
    }
}

#[unikernel_rt::test]
async fn connections_end_with_their_address() {
    let script = Script::new(Duration::from_secs(600));
    let stack = dhcp_stack(&script);
    stack.configured().await;
    script.refuses.set(true);
    // The server takes the address back at half of the lease, while a connection is being made.
    sleep(Duration::from_secs(290)).await;
    let peer = std::net::SocketAddr::new(GATEWAY.into(), 80);
    assert_eq!(stack.connect(peer).await.err(), Some(ConnectError::NotConfigured));
    assert_eq!((Instant::now().as_micros() / 1_000_000, stack.stats().flows), (300, 0));
}

/// What the boot arguments make: an address, or an error that says this.
async fn acquired(expected: Result<&str, &str>) {
    let mut machine = Machine::new();
    machine.add_net(Box::new(cable(Faults::NONE).0));
    match (Stack::acquire(&mut machine).await, expected) {
        (Ok(stack), Ok(address)) => assert_eq!(stack.addresses()[0].to_string(), address),
        (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
        (Ok(_), Err(text)) => panic!("there is no error `{text}`"),
        (Err(error), Ok(_)) => panic!("{error}"),
    }
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24")]
async fn a_static_address() {
    acquired(Ok("10.77.0.2")).await
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24 gw=10.77.0.1 net.connections=100")]
async fn a_static_address_with_everything() {
    acquired(Ok("10.77.0.2")).await
}

/// As urunc writes it: before what is the machine's own.
#[unikernel_rt::test(args = "ip=10.77.0.2/24 gateway=10.77.0.1 env=HERMIT_DNS1=10.77.0.3 -- net.connections=100")]
async fn a_gateway_by_its_other_name() {
    let config = Config::from_boot_args(1).unwrap();
    let address = "10.77.0.2/24".parse().unwrap();
    assert_eq!(config.port(0).v4, Addressing::Static { address, gateway: Some(Ipv4Addr::new(10, 77, 0, 1)) });
    unikernel_rt::Args::acquire(&mut Machine::new()).await.unwrap().finish().unwrap();
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24 gateway=10.77.0.7 -- gw=10.77.0.1")]
async fn a_gateway_by_both_names() {
    let addressing = Config::from_boot_args(1).unwrap().port(0).v4;
    let address = "10.77.0.2/24".parse().unwrap();
    assert_eq!(addressing, Addressing::Static { address, gateway: Some(Ipv4Addr::new(10, 77, 0, 1)) });
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24 gateway=10.78.0.1")]
async fn a_gateway_outside_by_its_other_name() {
    acquired(Err("boot argument `gateway=10.78.0.1`: expected another host of the network")).await
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24,gw=10.77.0.1")]
async fn a_gateway_behind_a_comma() {
    let addressing = Config::from_boot_args(1).unwrap().port(0).v4;
    let address = "10.77.0.2/24".parse().unwrap();
    assert_eq!(addressing, Addressing::Static { address, gateway: Some(Ipv4Addr::new(10, 77, 0, 1)) });
}

#[unikernel_rt::test(args = "ip=10.77.0.2")]
async fn no_length() {
    acquired(Err("boot argument `ip=10.77.0.2`: expected a host's ADDR/LEN, such as 192.168.1.2/24")).await
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24,10.77.0.1")]
async fn something_behind_a_comma() {
    acquired(Err("after the comma, expected gw=ADDR")).await
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24 gw=router")]
async fn a_gateway_that_is_no_address() {
    acquired(Err("boot argument `gw=router`: expected ADDR, such as 192.168.1.1")).await
}

#[unikernel_rt::test(args = "ip=10.77.0.2/24 gw=10.78.0.1")]
async fn a_gateway_outside() {
    acquired(Err("boot argument `gw=10.78.0.1`: expected another host of the network of `ip=10.77.0.2/24`")).await
}

#[unikernel_rt::test(args = "gw=10.78.0.1")]
async fn a_gateway_alone() {
    acquired(Err("add `ip=ADDR/LEN`")).await
}

#[unikernel_rt::test(args = "net.connections=many")]
async fn connections_that_are_no_number() {
    acquired(Err("boot argument `net.connections=many`: expected a number, 1 or more")).await
}

#[unikernel_rt::test]
async fn no_port() {
    let error = Stack::acquire(&mut Machine::new()).await.err().unwrap();
    assert!(error.to_string().contains("needs a network port"), "{error}");
}

#[test]
fn addresses_in_text() {
    for text in ["10.0.0.1/8", "10.0.0.0/31", "192.168.1.254/24", "1.2.3.4/32", "128.0.0.1/1"] {
        assert_eq!(text.parse::<Ipv4Cidr>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "/",
        "10.0.0.1",
        "10.0.0.1/",
        "10.0.0.1/33",
        "10.0.0.1/0",
        "10.0.0.0/24",
        "10.0.0.255/24",
        "10.0.0/8",
        "224.0.0.1/4",
        "127.0.0.1/8",
        "0.0.0.0/8",
        "250.1.1.1/8",
        "10.0.0.1/-1",
        "10.0.0.1/24/24",
    ] {
        assert!(text.parse::<Ipv4Cidr>().is_err(), "{text}");
    }
}
