//! A network of its own for the measurement: this program starts itself again inside new network
//! and process namespaces that hold one tap interface.
//!
//! The kernel removes both namespaces, with the tap and every process in them, when the program
//! ends, however it ends. So there is nothing to clean up and nothing of the machine to disturb.

use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, process, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{Result, error};

/// The interface the guests are connected to.
pub const TAP: &str = "bench0";
/// The address every guest is told to have.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// The address of this side.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// How many more addresses this side has, for clients that come from many places.
pub const CLIENTS: u8 = 10;

/// Tells the inner process that it is inside, and which folder is its own.
const INSIDE: &str = "UNIKERNEL_BENCH_FOLDER";

/// The folder for counters and consoles when this process is already inside the namespaces.
pub fn inside() -> Option<PathBuf> {
    env::var_os(INSIDE).map(PathBuf::from)
}

/// Replaces this process by one inside new namespaces. Returns only if that fails.
pub fn enter() -> Result<std::convert::Infallible> {
    if !rustix::process::geteuid().is_root() {
        return Err(error(
            "a network namespace and a tap need root: run this again with sudo -E, or see benches/README.md",
        ));
    }
    let folder = env::temp_dir().join(format!("unikernel-bench-{}", process::id()));
    fs::create_dir_all(&folder)?;
    let failure = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(INSIDE, &folder)
        .exec();
    Err(error(format!("cannot start unshare (package util-linux): {failure}")))
}

/// Inside: brings up the tap, and ends everything on Ctrl-C.
pub fn set_up(folder: &Path) -> Result {
    let ours = folder.to_owned();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        signals.forever().next();
        let _ = fs::remove_dir_all(&ours);
        // This is the first process of its namespace: all others die with it.
        process::exit(130);
    });
    // QEMU uses the header to hand over unfinished checksums, where the guest offers to do them.
    ip(&format!("tuntap add dev {TAP} mode tap vnet_hdr"))?;
    setting("ipv6/conf/all/disable_ipv6", "1")?;
    ip("link set lo up")?;
    ip(&format!("addr add {HOST}/24 dev {TAP}"))?;
    for client in 0..CLIENTS {
        ip(&format!("addr add {}/24 dev {TAP}", client_address(client)))?;
    }
    ip(&format!("link set {TAP} up"))?;
    // A guest that is not up yet is looked for every 20 ms instead of every second.
    setting(&format!("ipv4/neigh/{TAP}/retrans_time_ms"), "20")?;
    // Whoever closes first keeps TIME-WAIT, and a client that keeps it runs out of ports within
    // seconds. So this side keeps none, and uses all ports.
    setting("ipv4/tcp_max_tw_buckets", "0")?;
    setting("ipv4/ip_local_port_range", "1024 65535")
}

/// The address of one of the [`CLIENTS`].
pub fn client_address(client: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 11 + client)
}

/// How many frames may wait for a guest that does not take them: few while it boots, so that it
/// does not meet a second of old connection attempts.
pub fn set_queue(frames: u32) -> Result {
    ip(&format!("link set dev {TAP} txqueuelen {frames}"))
}

/// Frames for the guest that found its queue full, since the interface is there.
pub fn dropped() -> Result<u64> {
    let table = fs::read_to_string("/proc/net/dev")?;
    let counts = table.lines().find_map(|line| line.trim_start().strip_prefix(TAP)?.strip_prefix(':'));
    // Eight counts of what was received, then bytes, packets, errors and drops of what was sent.
    let drops = counts.and_then(|counts| counts.split_whitespace().nth(11)?.parse().ok());
    drops.ok_or_else(|| error(format!("/proc/net/dev does not tell what {TAP} dropped")))
}

fn ip(arguments: &str) -> Result {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|cause| error(format!("cannot start ip (package iproute2): {cause}")))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(error(format!("ip {arguments}: {reason}")))
}

fn setting(name: &str, value: &str) -> Result {
    let path = Path::new("/proc/sys/net").join(name);
    fs::write(&path, value).map_err(|cause| error(format!("{}: {cause}", path.display())))
}
