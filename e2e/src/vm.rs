//! A running VM. Dropping it ends it.

use std::{
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Instant,
};

use crate::{PATIENCE, client, image};

/// A VM under `cargo unikernel runner`, with one port of this machine that leads to its web server.
pub struct Vm {
    runner: Child,
    /// Leads to the guest's port 8080.
    pub port: u16,
    output: Arc<Output>,
}

/// How a VM ended, and all it said.
#[derive(Debug)]
pub struct End {
    /// The runner's exit code.
    pub code: i32,
    /// Console and messages of the runner.
    pub text: String,
}

#[derive(Default)]
struct Output {
    /// All text so far, and how many of the two streams are closed.
    state: Mutex<(String, usize)>,
    changed: Condvar,
}

impl Vm {
    /// Starts the image with these words for the runner, such as `--machine microvm ip=10.0.2.15/24`.
    pub fn start(package: &str, words: &str) -> Vm {
        Vm::start_with(package, words, "")
    }

    /// The same, with additional arguments for QEMU.
    pub fn start_with(package: &str, words: &str, qemu: &str) -> Vm {
        let port = free_port();
        let mut command = Command::new(image::tool());
        command.arg("runner").arg(image::image(package)).arg("--port").arg(format!("{port}:8080"));
        // If this process dies without dropping its VMs, they still end.
        command.args(["--timeout", "300"]).args(words.split_whitespace()).env("UNIKERNEL_QEMU_ARGS", qemu);
        let mut runner = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the runner starts");
        let output = Arc::new(Output::default());
        follow(runner.stdout.take().expect("is piped"), &output);
        follow(runner.stderr.take().expect("is piped"), &output);
        Vm { runner, port, output }
    }

    /// Starts the image and waits until its web server answers.
    pub fn serving(package: &str, words: &str) -> Vm {
        Vm::serving_with(package, words, "")
    }

    /// The same, with additional arguments for QEMU.
    pub fn serving_with(package: &str, words: &str, qemu: &str) -> Vm {
        let vm = Vm::start_with(package, words, qemu);
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

    /// All it said so far.
    pub fn said(&self) -> String {
        self.output.state.lock().expect("no reader panics").0.clone()
    }

    /// Waits until it has said this.
    pub fn says(&self, text: &str) {
        assert!(self.says_or_ends(text), "ended without `{text}`:\n{}", self.said());
    }

    /// Waits until it has said this or has ended; whether it has said it.
    pub fn says_or_ends(&self, text: &str) -> bool {
        self.wait(|(said, closed)| said.contains(text) || *closed == 2);
        let said = self.said().contains(text);
        assert!(said || self.has_ended(), "never said `{text}`:\n{}", self.said());
        said
    }

    /// Waits for its end.
    pub fn ends(mut self) -> End {
        self.wait(|(_, closed)| *closed == 2);
        assert!(self.has_ended(), "does not end:\n{}", self.said());
        let code = self.runner.wait().expect("is our child").code().expect("was not killed");
        End { code, text: self.said() }
    }

    fn has_ended(&self) -> bool {
        self.output.state.lock().expect("no reader panics").1 == 2
    }

    fn wait(&self, done: impl Fn(&(String, usize)) -> bool) {
        let state = self.output.state.lock().expect("no reader panics");
        let waited = self.output.changed.wait_timeout_while(state, PATIENCE, |state| !done(state));
        drop(waited.expect("no reader panics"));
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

fn follow(stream: impl Read + Send + 'static, output: &Arc<Output>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut state = output.state.lock().expect("no reader panics");
            state.0 += &(line + "\n");
            output.changed.notify_all();
        }
        output.state.lock().expect("no reader panics").1 += 1;
        output.changed.notify_all();
    });
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
