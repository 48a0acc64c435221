//! A running VM: starts QEMU, hands over its output, and ends it when asked to. Waits only for events.

use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};

use crate::{drives, ending::Ending};

/// How long QEMU may take to end in order (to flush its files) before it is killed.
const GRACE: Duration = Duration::from_secs(2);

enum Event {
    Console(Vec<u8>),
    ConsoleClosed,
    Signal(i32),
}

/// Runs QEMU until it ends, `timeout` passes, or this process is told to stop.
///
/// `console` gets the bytes of the VM's serial port as they come; when it fails, nobody listens any more and
/// the VM is stopped.
pub fn run(
    qemu: &Path,
    arguments: &[OsString],
    timeout: Option<Duration>,
    console: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Ending> {
    let (sender, events) = mpsc::channel();
    // Before QEMU is there, so that no signal can fall between.
    let mut signals = Signals::new(TERM_SIGNALS).context("cannot listen for signals")?;
    let signal_sender = sender.clone();
    thread::spawn(move || signals.forever().try_for_each(|signal| signal_sender.send(Event::Signal(signal))));

    let mut child = spawn(qemu, arguments)?;
    let complaint = relay_stderr(child.stderr.take().context("QEMU has no stderr")?);
    let stdout = child.stdout.take().context("QEMU has no stdout")?;
    thread::spawn(move || read_console(stdout, &sender));

    let mut heard = false;
    let mut listener = |bytes: &[u8]| {
        heard = true;
        console(bytes)
    };
    let cut_short = follow(&events, timeout, &mut listener);
    if cut_short.is_some() {
        stop(&mut child, &events);
    }
    let status = child.wait().context("cannot wait for QEMU")?;
    let complained = complaint.join().unwrap_or(false);
    Ok(cut_short.unwrap_or_else(|| Ending::of(status, complained && !heard)))
}

/// QEMU is in its own process group: Ctrl-C reaches only the runner, which then ends it in order.
fn spawn(qemu: &Path, arguments: &[OsString]) -> Result<Child> {
    let own = std::env::current_exe().context("cannot find the runner's own file")?;
    let mut command = Command::new(own);
    command.arg("babysit").arg(std::process::id().to_string()).arg("--").arg(qemu).args(arguments);
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("cannot start {}", qemu.display()))
}

/// Passes QEMU's messages on; the result is whether one of them was an error.
fn relay_stderr(stderr: ChildStderr) -> JoinHandle<bool> {
    thread::spawn(move || {
        let mut complained = false;
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            // Our own SIGTERM; the runner says so itself.
            if line.contains("terminating on signal") {
                continue;
            }
            let line = drives::explain(&line).map_or(line, Into::into);
            if line.is_empty() {
                continue;
            }
            complained |= !line.contains("warning:");
            // Nobody reading stderr is no reason to stop reading QEMU's.
            let _ = writeln!(io::stderr(), "{line}");
        }
        complained
    })
}

fn read_console(mut stdout: impl Read, sender: &Sender<Event>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = stdout.read(&mut buffer) {
        if sender.send(Event::Console(buffer[..len].to_vec())).is_err() {
            return;
        }
    }
    // The receiver is gone when the VM was stopped; then nobody needs to know.
    let _ = sender.send(Event::ConsoleClosed);
}

/// Hands the console over until it closes; `Some` says why the VM must be stopped before.
fn follow(
    events: &Receiver<Event>,
    timeout: Option<Duration>,
    console: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Option<Ending> {
    let deadline = timeout.map(|timeout| (timeout, Instant::now() + timeout));
    loop {
        let event = match deadline {
            None => events.recv().map_err(RecvTimeoutError::from),
            Some((_, end)) => events.recv_timeout(end.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Console(bytes)) => {
                if console(&bytes).is_err() {
                    return Some(Ending::Unheard);
                }
            }
            Ok(Event::Signal(signal)) => return Some(Ending::Stopped(signal)),
            Ok(Event::ConsoleClosed) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => return deadline.map(|(timeout, _)| Ending::TimedOut(timeout)),
        }
    }
}

/// Asks QEMU to end, and kills it if it does not, or if a second signal shows impatience.
fn stop(child: &mut Child, events: &Receiver<Event>) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    if !asked || !closes(events, Instant::now() + GRACE) {
        // It may have ended meanwhile, which is what we want.
        let _ = child.kill();
    }
}

/// Whether the console is closed before the end of this time; what it still says is dropped.
fn closes(events: &Receiver<Event>, end: Instant) -> bool {
    loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Event::Console(_)) => {}
            Ok(Event::ConsoleClosed) => return true,
            Ok(Event::Signal(_)) | Err(_) => return false,
        }
    }
}
