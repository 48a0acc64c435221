//! A running VM. Dropping it ends it.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Instant,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{PATIENCE, client, image, output::Output};

/// A VM under `cargo unikernel runner`, with one port of this machine that leads to its web server.
pub struct Vm {
    runner: Child,
    /// Leads to the guest's port 8080.
    pub port: u16,
    output: Output,
}

/// How a VM ended, and all it said.
#[derive(Debug)]
pub struct End {
    /// The runner's exit code.
    pub code: i32,
    /// Console and messages of the runner.
    pub text: String,
}

/// Images whose packages ask for no network.
const WITHOUT_NETWORK: [&str; 3] = ["hello", "e2e-config", "e2e-disks"];

/// Whether ports of this computer lead to the machine.
fn has_network(image: &Path, words: &str) -> bool {
    (!words.contains("--net ") || words.contains("--net user"))
        && !WITHOUT_NETWORK.iter().any(|name| image.ends_with(name))
}

impl Vm {
    /// Starts the image with these words for the runner, such as `--machine microvm ip=10.0.2.15/24`.
    pub fn start(package: &str, words: &str) -> Vm {
        Vm::start_with(package, words, "")
    }

    /// The same, with additional arguments for QEMU.
    pub fn start_with(package: &str, words: &str, qemu: &str) -> Vm {
        Vm::start_image(&image::image(package), words, qemu)
    }

    /// The same with a file.
    pub fn start_image(image: &Path, words: &str, qemu: &str) -> Vm {
        let port = free_port();
        let mut command = Command::new(image::tool());
        command.arg("runner").arg(image);
        if has_network(image, words) {
            command.arg("--port").arg(format!("{port}:8080"));
        }
        // If this process dies without dropping its VMs, they still end.
        command.args(["--timeout", "300"]).args(words.split_whitespace()).env("UNIKERNEL_QEMU_ARGS", qemu);
        Vm::start_command(&mut command, port)
    }

    /// Starts what runs a machine. It must end by itself when this process does.
    pub fn start_command(command: &mut Command, port: u16) -> Vm {
        let mut runner = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the runner starts");
        let (stdout, stderr) = (runner.stdout.take().expect("is piped"), runner.stderr.take().expect("is piped"));
        Vm { runner, port, output: Output::of(vec![Box::new(stdout), Box::new(stderr)]) }
    }

    /// Starts the image and waits until its web server answers.
    pub fn serving(package: &str, words: &str) -> Vm {
        Vm::serving_with(package, words, "")
    }

    /// The same, with additional arguments for QEMU.
    pub fn serving_with(package: &str, words: &str, qemu: &str) -> Vm {
        Vm::start_with(package, words, qemu).answers()
    }

    /// Waits until its web server answers.
    pub fn answers(self) -> Vm {
        let vm = self;
        let deadline = Instant::now() + PATIENCE;
        while client::try_get(vm.port, "/").is_err() {
            assert!(Instant::now() < deadline && !vm.has_ended(), "does not answer:\n{}", vm.said());
            // QEMU accepts connections before the guest does, so there is no event that tells.
            thread::sleep(client::PAUSE);
        }
        vm
    }

    /// `http://127.0.0.1:PORT/PATH`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The runner's process id, by which other commands know the machine.
    pub fn pid(&self) -> u32 {
        self.runner.id()
    }

    /// Asks the runner to stop, as Ctrl-C in a terminal does.
    pub fn stop(&self) {
        self.signal(Signal::INT);
    }

    /// Sends the runner a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.runner.id()).ok().and_then(Pid::from_raw).expect("is a process");
        kill_process(pid, signal).expect("is our child");
    }

    /// All it said so far.
    pub fn said(&self) -> String {
        self.output.said()
    }

    /// Waits until it has said this.
    pub fn says(&self, text: &str) {
        assert!(self.says_or_ends(text), "ended without `{text}`:\n{}", self.said());
    }

    /// Waits until it has said this or has ended; whether it has said it.
    pub fn says_or_ends(&self, text: &str) -> bool {
        self.output.wait(|said| said.contains(text));
        let said = self.said().contains(text);
        assert!(said || self.has_ended(), "never said `{text}`:\n{}", self.said());
        said
    }

    /// The first address that it says it has and that is as wanted.
    pub fn address(&self, wanted: impl Fn(&IpAddr) -> bool) -> IpAddr {
        let find = |said: &str| {
            let words = said.lines().filter_map(|line| line.split_once("network: address "));
            words.filter_map(|(_, address)| address.trim().parse().ok()).find(|address| wanted(address))
        };
        self.output.wait(|said| find(said).is_some());
        find(&self.said()).unwrap_or_else(|| panic!("no such address:\n{}", self.said()))
    }

    /// Waits for its end.
    pub fn ends(mut self) -> End {
        self.output.wait(|_| false);
        assert!(self.has_ended(), "does not end:\n{}", self.said());
        let code = self.runner.wait().expect("is our child").code().expect("was not killed");
        End { code, text: self.said() }
    }

    fn has_ended(&self) -> bool {
        self.output.has_ended()
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        // The kernel ends QEMU with its runner.
        let _ = self.runner.kill();
        let _ = self.runner.wait();
        if thread::panicking() {
            eprintln!("the machine said:\n{}", self.said());
        }
    }
}

/// Below the range from which the system takes the ports of outgoing connections, and another for each VM.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 10_000) as u16;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
