//! dnsmasq and curl as peers, in a network namespace.

use e2e::{client::curl, dnsmasq::Dnsmasq, namespace, vm::Vm};
use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, TcpListener},
    thread,
};
use tempfile::TempDir;

const TAP: &str = "-netdev tap,id=tap,ifname=e2e0,script=no,downscript=no -device virtio-net-pci,netdev=tap,romfile=";

/// The shortest lease that dnsmasq gives, two minutes, but to be renewed after 12 seconds; the stack believes 10 and more.
const LEASES4: &[&str] = &["--dhcp-range=10.78.0.50,10.78.0.99,120", "--dhcp-option=58,12", "--dhcp-option=59,105"];
const LEASES6: &[&str] =
    &["--enable-ra", "--dhcp-range=fd78::100,fd78::1ff,64,120", "--dhcp-option=option6:dns-server,[fd78::1]"];
/// Names with addresses of both families, of one, and an alias. Datagrams hold 30 addresses of many.test.
const NAMES: &[&str] = &[
    "--domain=test",
    "--dhcp-option=option:dns-server,10.78.0.1",
    "--host-record=both.test,10.78.0.1,fd78::1",
    "--host-record=four.test,10.78.0.1",
    "--host-record=six.test,fd78::1",
    "--cname=alias.test,both.test",
    "--local=/test/",
    "--edns-packet-max=512",
];

fn start(home: &TempDir, options: &[&[&str]]) -> Dnsmasq {
    Dnsmasq::start(home.path(), &options.concat())
}

fn boot(words: &str) -> Vm {
    Vm::start_with("e2e-guest", &format!("--net none {words}"), TAP)
}

fn address4(vm: &Vm) -> IpAddr {
    vm.address(IpAddr::is_ipv4)
}

fn address6(vm: &Vm) -> IpAddr {
    vm.address(|address| address.to_string().starts_with("fd78::"))
}

fn ask(address: IpAddr, path: &str) -> String {
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    curl(&["--globoff", &format!("http://{host}:8080{path}")]).text().to_owned()
}

#[test]
fn both_families_are_leased_and_serve() {
    namespace::inside(|| {
        let home = tempfile::tempdir().unwrap();
        let dnsmasq = start(&home, &[LEASES4, LEASES6]);
        let vm = boot("");
        let (four, six) = (address4(&vm), address6(&vm));
        dnsmasq.says(&format!("DHCPACK(e2e0) {four}"), 1);
        dnsmasq.says("DHCPREPLY(e2e0) ", 1);
        for address in [four, six] {
            let known = ask(address, "/addresses");
            assert!(known.contains(&format!("{four}\n")) && known.contains(&format!("{six}\n")), "{known}");
        }
    });
}

#[test]
fn one_family_alone_serves() {
    namespace::inside(|| {
        let home = tempfile::tempdir().unwrap();
        let _dnsmasq = start(&home, &[LEASES4, LEASES6]);
        let vm = boot("ip=off");
        let six = address6(&vm);
        let known = ask(six, "/addresses");
        assert!(known.contains(&format!("{six}\n")) && !known.contains('.'), "{known}");
        drop(vm);
        let vm = boot("ip6=off");
        let four = address4(&vm);
        assert_eq!(ask(four, "/addresses"), format!("{four}\n"));
    });
}

#[test]
fn routers_alone_give_addresses() {
    namespace::inside(|| {
        let home = tempfile::tempdir().unwrap();
        let _dnsmasq = start(&home, &[&["--enable-ra", "--dhcp-range=fd78::,ra-only,64,120"]]);
        let vm = boot("ip=off");
        let six = address6(&vm);
        assert_eq!(ask(six, "/number/6"), "6");
    });
}

#[test]
fn names_are_resolved() {
    namespace::inside(|| {
        let home = tempfile::tempdir().unwrap();
        let many = home.path().join("many");
        let lines: String = (1..=200).map(|host| format!("10.9.0.{host} many.test\n")).collect();
        fs::write(&many, lines).unwrap();
        let hosts = format!("--addn-hosts={}", many.display());
        let dnsmasq = start(&home, &[LEASES4, LEASES6, NAMES, &[&hosts]]);
        let vm = boot("");
        let (four, _) = (address4(&vm), address6(&vm));
        let check = |name: &str, expected: &str| {
            let answer = ask(four, &format!("/lookup/{name}"));
            assert_eq!(answer, expected, "{name}");
        };
        check("both.test", "fd78::1\n10.78.0.1\n");
        check("four.test", "10.78.0.1\n");
        check("six.test", "fd78::1\n");
        check("alias.test", "fd78::1\n10.78.0.1\n");
        // With the domain that the lease names.
        check("four", "10.78.0.1\n");
        // More than a datagram holds: these came over TCP. The resolver takes 32 of the 200.
        let many = ask(four, "/lookup/many.test");
        assert_eq!(many.lines().filter(|line| line.starts_with("10.9.0.")).count(), 32, "{many}");
        let missing = ask(four, "/lookup/missing.test");
        assert!(missing.parse::<IpAddr>().is_err() && !missing.is_empty(), "{missing}");
        dnsmasq.says("query[AAAA] missing.test", 1);
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || listener.incoming().flatten().for_each(|mut stream| drop(stream.write_all(b"hello"))));
        // Nobody listens on the IPv6 address, which is tried first.
        assert_eq!(ask(four, &format!("/fetch/both.test/{port}")), "hello");
    });
}

#[test]
fn a_lease_is_renewed_though_its_server_dies_between() {
    namespace::inside(|| {
        let home = tempfile::tempdir().unwrap();
        let dnsmasq = start(&home, &[LEASES4]);
        let vm = boot("ip6=off");
        let four = address4(&vm);
        let renewed = format!("DHCPACK(e2e0) {four}");
        dnsmasq.says(&renewed, 2);
        drop(dnsmasq);
        assert_eq!(ask(four, "/number/1"), "1");
        // It knows its leases from its file; the machine asks in the middle of what is left.
        let dnsmasq = start(&home, &[LEASES4]);
        dnsmasq.says(&renewed, 1);
        assert_eq!(ask(four, "/number/2"), "2");
        assert!(!vm.said().contains("is gone"), "{}", vm.said());
    });
}
