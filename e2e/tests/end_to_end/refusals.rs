//! What a machine says when it cannot do its work, and the exit code that goes with it.

use e2e::{PATIENCE, image::image, qemu, vm::Vm};
use std::net::UdpSocket;

fn check(words: &str, code: i32, parts: &[&str]) {
    let end = Vm::start("echo", words).ends();
    assert_eq!(end.code, code, "{end:?}");
    assert!(parts.iter().all(|part| end.text.contains(part)), "{parts:?} in {}", end.text);
}

#[test]
fn no_network_device() {
    check(
        "--net none",
        2,
        &["unikernel: cannot start: ", "network", "--net user", "the app could not start (exit code 2)"],
    );
}

#[test]
fn an_unknown_boot_argument() {
    check("colour=blue", 2, &["unikernel: cannot start: ", "`colour`"]);
}

#[test]
fn a_malformed_boot_argument() {
    check("ip=10.0.2", 2, &["unikernel: cannot start: ", "`ip=10.0.2`", "ADDR/LEN"]);
    check("ip=10.0.2.15/24 gw=somewhere", 2, &["unikernel: cannot start: ", "`gw=somewhere`"]);
}

/// The clock's jitter alone makes no seed; each of the sources does. The runner gives every machine a device, so this goes without
/// the runner.
#[test]
fn no_source_of_randomness() {
    let image = image("selftest");
    for (machine, device) in [("q35", "virtio-rng-pci"), ("pc", "virtio-rng-pci"), ("microvm", "virtio-rng-device")] {
        let end = |extra: &[&str]| qemu::end(&image, machine, "selftest=none", extra);
        let refused = end(&["-cpu", "max,-rdrand,-rdseed"]);
        assert_eq!(refused.code, 2, "{machine}: {refused:?}");
        for part in ["cannot start: the machine has no source of randomness", "virtio-rng", "RDRAND"] {
            assert!(refused.text.contains(part), "{machine}: {refused:?}");
        }
        assert!(!refused.text.contains("survived"), "{machine}: {refused:?}");
        // QEMU 7.2 emulates no RDSEED that could be tried alone.
        for source in [&["-cpu", "max,-rdseed"][..], &["-cpu", "max,-rdrand,-rdseed", "-device", device]] {
            let end = end(source);
            assert!(end.code == 0 && end.text.contains("survived"), "{machine} with {source:?}: {end:?}");
        }
    }
}

/// Going down from a size that is enough, the first that is not must be refused in words.
#[test]
fn too_little_memory() {
    let sizes = (1500..4000).step_by(50).rev().map(|kib| format!("--memory {kib}K"));
    let refused = sizes.map(|size| Vm::start("echo", &size)).find(|vm| !vm.says_or_ends("network: address"));
    let end = refused.expect("no image fits into 1500 KiB").ends();
    assert_eq!(end.code, 2, "{end:?}");
    assert!(end.text.contains("too little memory; start the machine with -m "), "{end:?}");
}

/// QEMU sends each frame of the VM as one datagram to this test, which has no DHCP server.
#[test]
fn a_silent_dhcp() {
    let wire = UdpSocket::bind("127.0.0.1:0").unwrap();
    wire.set_read_timeout(Some(PATIENCE)).unwrap();
    let here = wire.local_addr().unwrap();
    let there = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let qemu =
        format!("-netdev socket,id=wire,udp={here},localaddr={there} -device virtio-net-pci,netdev=wire,romfile=");
    let vm = Vm::start_with("echo", "--net none", &qemu);
    discover(&wire);
    vm.says("DHCP");
    while wire.set_nonblocking(true).is_ok() && wire.recv(&mut [0; 2048]).is_ok() {}
    wire.set_nonblocking(false).unwrap();
    discover(&wire);
}

/// Waits for a frame that is sent to a DHCP server: IPv4, UDP, port 67.
fn discover(wire: &UdpSocket) {
    let mut frame = [0; 2048];
    loop {
        let len = wire.recv(&mut frame).expect("it asks for an address");
        if len > 42 && frame[12..14] == [8, 0] && frame[23] == 17 && frame[36..38] == [0, 67] {
            return;
        }
    }
}
