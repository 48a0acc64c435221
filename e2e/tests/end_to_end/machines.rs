//! The same image on every machine type and every way to find a device.

use e2e::{client, vm::Vm};

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
