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
use signal_hook::{
    consts::{SIGINT, SIGTERM, TERM_SIGNALS},
    iterator::Signals,
};

use crate::{debug, drives, ending::Ending, qmp::Qmp};

/// How long QEMU may take to end in order (to flush its files) before it is killed.
const GRACE: Duration = Duration::from_secs(2);

enum Event {
    Console(Vec<u8>),
    ConsoleClosed,
    Signal(i32),
}

/// Who listens; `Some` is the exit code of a machine that has halted.
pub type Console<'a> = dyn FnMut(&[u8]) -> io::Result<Option<u8>> + 'a;

/// Between two presses of the power button: firmware and boot code do not see it.
const PRESS_INTERVAL: Duration = Duration::from_millis(250);
/// A stop that takes longer is worth a word.
const STOP_SILENCE: Duration = Duration::from_secs(1);

/// How a VM ends if it does not end itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// It is killed then.
    pub timeout: Option<Duration>,
    /// When this process is told to stop, the machine is asked to, and has so long; none: it is killed.
    pub stop: Option<Duration>,
    /// The machine does not run before a debugger says so; says on stdout when that can be attached.
    pub is_paused: bool,
}

/// Runs QEMU until it ends, the time is over, or this process is told to stop.
///
/// `console` gets the bytes of the VM's serial port as they come; when it fails, nobody listens any more and the VM is
/// stopped. When it says that the machine has halted, and which exit code that stands for, `halted` may ask things of QEMU
/// before it is ended.
pub fn run(
    qemu: &Path,
    arguments: &[OsString],
    bounds: Bounds,
    console: &mut Console<'_>,
    halted: &mut dyn FnMut(&mut Qmp),
) -> Result<Ending> {
    let (sender, events) = mpsc::channel();
    // Before QEMU is there, so that no signal can fall between.
    let mut signals = Signals::new(TERM_SIGNALS).context("cannot listen for signals")?;
    let signal_sender = sender.clone();
    thread::spawn(move || signals.forever().try_for_each(|signal| signal_sender.send(Event::Signal(signal))));

    let (mut qmp, for_qemu) = Qmp::pair()?;
    let arguments = [arguments, &for_qemu.arguments()].concat();
    let mut child = spawn(qemu, &arguments)?;
    drop(for_qemu);
    // If it does not start, it says why, and ends.
    if bounds.is_paused && qmp.wait_for_start().is_ok() {
        println!("{}", debug::READY);
    }
    let complaint = relay_stderr(child.stderr.take().context("QEMU has no stderr")?);
    let stdout = child.stdout.take().context("QEMU has no stdout")?;
    thread::spawn(move || read_console(stdout, &sender));

    let mut heard = false;
    let mut listener = |bytes: &[u8]| {
        heard = true;
        console(bytes)
    };
    let mut cut_short = follow(&events, bounds.timeout, &mut listener);
    if let (Some(Ending::Stopped(SIGINT | SIGTERM)), Some(limit)) = (cut_short, bounds.stop)
        && stop_in_order(&mut qmp, &events, limit, &mut listener)
    {
        cut_short = None;
    }
    if let Some(Ending::Halted(_)) = cut_short {
        halted(&mut qmp);
    }
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
fn follow(events: &Receiver<Event>, timeout: Option<Duration>, console: &mut Console<'_>) -> Option<Ending> {
    let deadline = timeout.map(|timeout| (timeout, Instant::now() + timeout));
    loop {
        let event = match deadline {
            None => events.recv().map_err(RecvTimeoutError::from),
            Some((_, end)) => events.recv_timeout(end.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Console(bytes)) => match console(&bytes) {
                Ok(None) => {}
                Ok(Some(code)) => return Some(Ending::Halted(code)),
                Err(_) => return Some(Ending::Unheard),
            },
            Ok(Event::Signal(signal)) => return Some(Ending::Stopped(signal)),
            Ok(Event::ConsoleClosed) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => return deadline.map(|(timeout, _)| Ending::TimedOut(timeout)),
        }
    }
}

/// Asks the machine to stop, by its power button, and waits. False when it did not, or a second signal shows impatience.
fn stop_in_order(qmp: &mut Qmp, events: &Receiver<Event>, limit: Duration, console: &mut Console<'_>) -> bool {
    let start = Instant::now();
    let mut is_silent = true;
    while start.elapsed() < limit {
        if qmp.press_power_button().is_err() {
            // No QEMU that could be asked; perhaps because it has just ended.
            return hears_the_end(events, Instant::now() + GRACE / 10, console);
        }
        if is_silent && start.elapsed() >= STOP_SILENCE {
            is_silent = false;
            let limit = limit.as_secs();
            eprintln!("unikernel: the machine has {limit} s to stop in order; another Ctrl-C ends it at once");
        }
        let press = Instant::now() + PRESS_INTERVAL;
        loop {
            match events.recv_timeout(press.saturating_duration_since(Instant::now())) {
                Ok(Event::Console(bytes)) if console(&bytes).is_ok() => {}
                Ok(Event::ConsoleClosed) | Err(RecvTimeoutError::Disconnected) => return true,
                Ok(Event::Console(_) | Event::Signal(_)) => return false,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
    }
    eprintln!("unikernel: the machine did not stop in {} s and is ended", limit.as_secs());
    false
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
    hears_the_end(events, end, &mut |_| Ok(None))
}

/// The same; what it still says is handed over.
fn hears_the_end(events: &Receiver<Event>, end: Instant, console: &mut Console<'_>) -> bool {
    loop {
        match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
            // Who cannot be told does not stop the machine from ending.
            Ok(Event::Console(bytes)) => drop(console(&bytes)),
            Ok(Event::ConsoleClosed) => return true,
            Ok(Event::Signal(_)) | Err(_) => return false,
        }
    }
}
