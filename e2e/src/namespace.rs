//! A network of its own for a test: [`inside`] runs the test again in new network and process namespaces.
//!
//! The kernel removes both, with the interfaces and every process in them, when that run ends, however it ends.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::Command,
    thread,
};

use crate::image;

/// Tells the inner run that it is inside.
const INSIDE: &str = "UNIKERNEL_E2E_INSIDE";

/// The interface that leads to the machine.
pub const TAP: &str = "e2e0";

/// This side's addresses.
pub const HOST4: &str = "10.78.0.1";
/// The same.
pub const HOST6: &str = "fd78::1";

/// Runs `test` in namespaces that hold the loopback interface and [`TAP`], which has [`HOST4`] and [`HOST6`]. Skips it
/// when this is not root, and says so.
///
/// Must be all that a test of the test program does: it starts that test again by its name.
pub fn inside(test: fn()) {
    if env::var_os(INSIDE).is_some() {
        set_up();
        return test();
    }
    let name = thread::current().name().expect("tests run in threads that have their names").to_owned();
    if !rustix::process::geteuid().is_root() {
        // Not a macro: what those print is shown only of tests that fail.
        let _ = writeln!(io::stderr(), "{name} SKIPPED: a network namespace and a tap need root; run it with sudo -E");
        return;
    }
    // Inside there is no way to fetch what they are made of.
    image::tool();
    image::image("e2e-guest");
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]);
    command.arg(env::current_exe().expect("this program has a path")).args(["--exact", &name]).env(INSIDE, "1");
    let output = command.output().expect("unshare starts (package util-linux)");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn set_up() {
    setting("ipv6/conf/all/accept_dad", "0");
    setting("ipv6/conf/default/accept_dad", "0");
    ip("link set lo up");
    ip(&format!("tuntap add dev {TAP} mode tap vnet_hdr"));
    ip(&format!("addr add {HOST4}/24 dev {TAP}"));
    ip(&format!("addr add {HOST6}/64 dev {TAP}"));
    ip(&format!("link set {TAP} up"));
}

/// Runs `ip`, which must succeed.
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("ip starts (package iproute2)");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

fn setting(name: &str, value: &str) {
    let path = Path::new("/proc/sys/net").join(name);
    fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
