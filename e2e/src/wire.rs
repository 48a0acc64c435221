//! The wire between the [tap](crate::namespace::TAP) and a machine, in the hands of the test: it loses, delays,
//! reorders and doubles frames, and carries frames that nobody on it has sent.
//!
//! `tc netem` does much of that, but not every kernel has it. QEMU sends and takes frames as datagrams, so the wire is
//! two sockets; a second QEMU, without a machine, connects one of them to the tap.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::{SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{namespace::TAP, noise::Noise};

/// Longer than any frame of an interface with the usual MTU.
const FRAME_LEN_MAX: usize = 2048;

/// How long a direction sleeps when nothing is under way.
const IDLE: Duration = Duration::from_secs(1);

/// What happens to frames, of a thousand.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// So many are lost.
    pub lost: usize,
    /// So many come twice.
    pub doubled: usize,
    /// So many are overtaken: they come later by [`late`](Self::late).
    pub overtaken: usize,
    /// How long all take.
    pub delay: Duration,
    /// How long those that are overtaken take besides.
    pub late: Duration,
}

/// A running wire. Dropping it ends the way to the tap.
pub struct Wire {
    bridge: Child,
    to_machine: UdpSocket,
    machine: SocketAddr,
    words: String,
}

impl Wire {
    /// Lays it; the same faults, from different seeds, in both directions.
    pub fn lay(faults: Faults) -> Wire {
        let bind = || UdpSocket::bind("127.0.0.1:0").expect("there are free ports");
        let address = |socket: &UdpSocket| socket.local_addr().expect("is bound");
        let (to_machine, to_tap) = (bind(), bind());
        // Nobody else takes ports in this namespace before QEMU binds these.
        let (machine, tap) = (address(&bind()), address(&bind()));
        let words = format!(
            "-netdev socket,id=wire,udp={},localaddr={machine} -device virtio-net-pci,netdev=wire,romfile=",
            address(&to_machine)
        );
        let bridge = bridge(&format!("udp={},localaddr={tap}", address(&to_tap)));
        carry(&to_machine, &to_tap, tap, faults, 1);
        carry(&to_tap, &to_machine, machine, faults, 2);
        Wire { bridge, to_machine, machine, words }
    }

    /// The words for QEMU that connect a machine.
    pub fn qemu(&self) -> &str {
        &self.words
    }

    /// Hands the machine a frame.
    pub fn send(&self, frame: &[u8]) {
        self.to_machine.send_to(frame, self.machine).expect("the loopback interface takes frames");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.bridge.kill();
        let _ = self.bridge.wait();
    }
}

/// A QEMU that only connects the tap to a socket.
fn bridge(socket: &str) -> Child {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-M", "none", "-nodefaults", "-display", "none"]);
    command.arg("-netdev").arg(format!("tap,id=tap,ifname={TAP},script=no,downscript=no"));
    command.arg("-netdev").arg(format!("socket,id=socket,{socket}"));
    command.args(["-netdev", "hubport,id=first,hubid=0,netdev=tap"]);
    command.args(["-netdev", "hubport,id=second,hubid=0,netdev=socket"]);
    command.stdin(Stdio::null()).spawn().expect("QEMU starts; script/test installs it")
}

/// Carries frames one way until the process ends.
fn carry(from: &UdpSocket, by: &UdpSocket, to: SocketAddr, faults: Faults, seed: u64) {
    let (from, by) = (from.try_clone().expect("is open"), by.try_clone().expect("is open"));
    thread::spawn(move || {
        let mut noise = Noise::new(seed);
        let mut under_way = BinaryHeap::new();
        let mut number = 0_u64;
        loop {
            for due in receive(&from, &under_way).iter().flat_map(|frame| fates(frame, faults, &mut noise)) {
                number += 1;
                under_way.push(Reverse((due.0, number, due.1)));
            }
            deliver(&mut under_way, &by, to);
        }
    });
}

type Frames = BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>;

/// The next frame, unless one under way is due before.
fn receive(from: &UdpSocket, under_way: &Frames) -> Option<Vec<u8>> {
    let now = Instant::now();
    let wait = under_way.peek().map_or(IDLE, |Reverse((due, ..))| due.saturating_duration_since(now));
    // Zero would mean for ever.
    from.set_read_timeout(Some(wait.max(Duration::from_micros(1)))).expect("is not zero");
    let mut frame = vec![0; FRAME_LEN_MAX];
    let len = from.recv(&mut frame).ok()?;
    frame.truncate(len);
    Some(frame)
}

/// When a frame arrives: never, once, or twice.
fn fates(frame: &[u8], faults: Faults, noise: &mut Noise) -> Vec<(Instant, Vec<u8>)> {
    let mut chance = |of_thousand| noise.below(1000) < of_thousand;
    let copies = if chance(faults.lost) { 0 } else { 1 + usize::from(chance(faults.doubled)) };
    let late = if chance(faults.overtaken) { faults.late } else { Duration::ZERO };
    vec![(Instant::now() + faults.delay + late, frame.to_vec()); copies]
}

fn deliver(under_way: &mut Frames, by: &UdpSocket, to: SocketAddr) {
    while under_way.peek().is_some_and(|Reverse((due, ..))| *due <= Instant::now()) {
        let Some(Reverse((_, _, frame))) = under_way.pop() else { return };
        // Before the machine is there, and after, its end of the wire is open: what is sent is lost.
        let _: io::Result<usize> = by.send_to(&frame, to);
    }
}
