//! The same image on every machine type and every way to find a device.

use e2e::{client, vm::Vm};
use std::fs;

fn check(machine: &str, qemu: &str) {
    let vm = Vm::serving_with("static-site", &format!("--machine {machine}"), qemu);
    let page = client::get(vm.port, "/");
    assert_eq!(page.status, 200, "{page:?}");
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("<html") && text.trim_end().ends_with("</html>"), "{text}");
}

#[test]
fn q35() {
    check("q35", "");
}

#[test]
fn pc() {
    check("pc", "");
}

#[test]
fn microvm_with_acpi_modern() {
    check("microvm,acpi=on", "");
}

#[test]
fn microvm_with_acpi_legacy() {
    check("microvm,acpi=on", "-global virtio-mmio.force-legacy=true");
}

#[test]
fn microvm_without_acpi_modern() {
    check("microvm,acpi=off", "");
}

#[test]
fn microvm_without_acpi_legacy() {
    check("microvm,acpi=off", "-global virtio-mmio.force-legacy=true");
}

#[test]
fn hello_logs_and_ends_on_each() {
    for machine in ["q35", "pc", "microvm", "microvm,acpi=off"] {
        let end = Vm::start("hello", &format!("--machine {machine}")).ends();
        assert_eq!(end.code, 0, "{machine}: {end:?}");
        assert!(end.text.contains(" INFO  hello from "), "{machine}: {end:?}");
    }
}

#[test]
fn an_address_may_be_given() {
    let vm = Vm::serving("static-site", "ip=10.0.2.15/24 gw=10.0.2.2");
    assert_eq!(client::get(vm.port, "/").status, 200);
}

/// A CPU without RDRAND: the random number device is the only source.
#[test]
fn randomness_from_the_device_alone() {
    for machine in ["q35", "microvm", "microvm,acpi=off"] {
        check(machine, "-cpu qemu64");
    }
}

/// On every machine, with files that end on no page.
#[test]
fn modules_arrive_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..3_000_001_u32).map(|index| (index.wrapping_mul(index) >> 7) as u8).collect();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("key.pem"), "secret").unwrap();
    fs::write(path("large"), &large).unwrap();
    let modules = format!("--module {} --module other={}", path("key.pem"), path("large"));
    for machine in ["q35", "pc", "microvm", "microvm,acpi=off"] {
        let vm = Vm::serving("e2e-guest", &format!("--machine {machine} {modules}"));
        let get = |name: &str| client::get(vm.port, &format!("/module/{name}"));
        assert_eq!(get("key.pem").body, b"secret", "{machine}");
        assert!(get("other").body == large, "{machine}");
        assert_eq!(get("large").status, 404, "{machine}");
    }
    let vm = Vm::serving_with("e2e-guest", "", &format!("-initrd {}", path("key.pem")));
    assert_eq!(client::get(vm.port, "/module/initrd").body, b"secret");
}

/// The runner's own port is the first; the others follow as they were given.
#[test]
fn several_network_ports() {
    let check = |machine: &str, device: &str, expected: &str| {
        let port = |number: u8| {
            format!("-netdev user,id=n{number} -device {device},netdev=n{number},mac=02:00:00:00:00:0{number}")
        };
        let vm = Vm::serving_with("e2e-guest", &format!("--machine {machine}"), &format!("{} {}", port(1), port(2)));
        let ports = String::from_utf8(client::get(vm.port, "/ports").body).unwrap();
        assert_eq!(ports, expected, "{machine}");
    };
    let in_order = "[52, 54, 00, 12, 34, 56] [02, 00, 00, 00, 00, 01] [02, 00, 00, 00, 00, 02]";
    check("q35", "virtio-net-pci", in_order);
    check("microvm", "virtio-net-device", in_order);
    check("microvm,acpi=off", "virtio-net-device", in_order);
}
