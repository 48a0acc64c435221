//! A running VM: starts QEMU, hands over its output, and ends it when asked to. Waits only for events.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, TERM_SIGNALS},
    iterator::Signals,
};

use crate::{drives, ending::Ending, qmp::Qmp};

/// What waits for a slow listener: up to a MiB of the console, and then QEMU waits.
const EVENTS_MAX: usize = 64;

/// How long QEMU may take to end in order (to flush its files) before it is killed.
const GRACE: Duration = Duration::from_secs(2);

enum Event {
    Console(Vec<u8>),
    ConsoleClosed,
    Signal(i32),
}

/// Tells a machine what it would hear from a signal.
#[derive(Clone)]
pub struct Orders(SyncSender<Event>);

/// Where the orders arrive.
pub struct Events(Receiver<Event>);

/// The two ends for one machine.
pub fn orders() -> (Orders, Events) {
    let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
    (Orders(sender), Events(events))
}

impl Orders {
    /// As if this signal had come; nothing for a machine that has ended.
    pub fn signal(&self, signal: i32) {
        let _ = self.0.send(Event::Signal(signal));
    }

    /// From now on every signal that ends a process is such an order.
    pub fn listen_to_signals(&self) -> Result<()> {
        let hangup = (!ignores_hangups()).then_some(&SIGHUP);
        let mut signals = Signals::new(TERM_SIGNALS.iter().chain(hangup)).context("cannot listen for signals")?;
        let sender = self.0.clone();
        thread::spawn(move || signals.forever().try_for_each(|signal| sender.send(Event::Signal(signal))));
        Ok(())
    }
}

/// QEMU when it has just been started.
pub struct Started<'a> {
    /// Its process.
    pub pid: u32,
    /// Its monitor; not yet opened.
    pub qmp: &'a mut Qmp,
    /// Leads to the machine's serial port, with [`Bounds::has_keyboard`].
    pub keyboard: Option<ChildStdin>,
}

/// Who listens; `Some` is the exit code of a machine that has halted.
pub type Console<'a> = dyn FnMut(&[u8]) -> io::Result<Option<u8>> + 'a;

/// Between two presses of the power button: firmware and boot code do not see it.
const PRESS_INTERVAL: Duration = Duration::from_millis(250);
/// A stop that takes longer is worth a word.
const STOP_SILENCE: Duration = Duration::from_secs(1);

/// How a VM ends if it does not end itself, and whether it can be typed to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// It is killed then.
    pub timeout: Option<Duration>,
    /// When this process is told to stop, the machine is asked to, and has so long; none: it is killed.
    pub stop: Option<Duration>,
    /// What ends a machine that is asked to stop at once, in words.
    pub hurry: &'static str,
    /// Its serial port can be written to.
    pub has_keyboard: bool,
}

/// Runs QEMU until it ends, the time is over, or an order comes to stop.
///
/// `started` is called once, and may wait for QEMU to be set up; when it fails, QEMU is ended. `console` gets the bytes of the
/// VM's serial port as they come; when it fails, nobody listens any more and the VM is stopped. When it says that the machine
/// has halted, and which exit code that stands for, `halted` may ask things of QEMU before it is ended.
pub fn run(
    qemu: &Path,
    arguments: &[OsString],
    bounds: Bounds,
    (orders, Events(events)): (Orders, Events),
    started: &mut dyn FnMut(Started<'_>) -> Result<()>,
    console: &mut Console<'_>,
    halted: &mut dyn FnMut(&mut Qmp),
) -> Result<Ending> {
    let (mut qmp, for_qemu) = Qmp::pair()?;
    let arguments = [arguments, &for_qemu.arguments("runner")].concat();
    let keyboard = if bounds.has_keyboard { Stdio::piped() } else { Stdio::null() };
    let mut child = spawn(qemu, &arguments, keyboard)?;
    drop(for_qemu);
    let complaint = relay_stderr(child.stderr.take().context("QEMU has no stderr")?);
    let stdout = child.stdout.take().context("QEMU has no stdout")?;
    thread::spawn(move || read_console(stdout, &orders.0));

    let mut heard = false;
    let mut listener = |bytes: &[u8]| {
        heard = true;
        console(bytes)
    };
    let start = started(Started { pid: child.id(), keyboard: child.stdin.take(), qmp: &mut qmp });
    let mut cut_short = match &start {
        Ok(()) => follow(&events, bounds.timeout, &mut listener),
        Err(_) => Some(Ending::Unheard),
    };
    if let (Some(Ending::Stopped(signal @ (SIGINT | SIGTERM | SIGHUP))), Some(limit)) = (cut_short, bounds.stop) {
        cut_short = stop_in_order(&mut qmp, signal, &events, (limit, bounds.hurry), &mut listener);
    }
    if let Some(Ending::Halted(_)) = cut_short {
        halted(&mut qmp);
    }
    if cut_short.is_some() {
        stop(&mut child, &events, &mut listener);
    }
    let status = child.wait().context("cannot wait for QEMU")?;
    let complained = complaint.join().unwrap_or(false);
    match (start, Ending::of(status, complained && !heard)) {
        // It refused to start, and has said why.
        (Err(_), refused @ Ending::Qemu(_)) => Ok(refused),
        (Err(problem), _) => Err(problem),
        (Ok(()), ending) => Ok(cut_short.unwrap_or(ending)),
    }
}

/// QEMU is in its own process group: Ctrl-C reaches only the runner, which then ends it in order.
fn spawn(qemu: &Path, arguments: &[OsString], keyboard: Stdio) -> Result<Child> {
    let mut command = Command::new(own_program()?);
    command.arg("babysit").arg(std::process::id().to_string()).arg("--").arg(qemu).args(arguments);
    command.process_group(0).stdin(keyboard).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("cannot start {}", qemu.display()))
}

/// This program. On Linux as the kernel knows it: a tool that was installed anew meanwhile starts its machines all the same.
fn own_program() -> Result<PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        return Ok(own.to_owned());
    }
    env::current_exe().context("cannot find the runner's own file")
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

fn read_console(mut stdout: impl Read, sender: &SyncSender<Event>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = stdout.read(&mut buffer) {
        if sender.send(Event::Console(buffer[..len].to_vec())).is_err() {
            return;
        }
    }
    // The receiver is gone when the VM was stopped; then nobody needs to know.
    let _ = sender.send(Event::ConsoleClosed);
}

/// What comes after something the console said.
enum Next {
    Closed,
    Signal(i32),
    /// The machine has halted, which stands for this exit code.
    Halted(u8),
    /// Nobody listens.
    Unheard,
    /// The end of the time.
    Over,
}

/// Hands the console over until something else comes.
fn hear(events: &Receiver<Event>, end: Option<Instant>, console: &mut Console<'_>) -> Next {
    loop {
        // Looked at each time: a machine may talk without a pause.
        if end.is_some_and(|end| Instant::now() >= end) {
            return Next::Over;
        }
        let event = match end {
            None => events.recv().map_err(RecvTimeoutError::from),
            Some(end) => events.recv_timeout(end.saturating_duration_since(Instant::now())),
        };
        match event {
            Ok(Event::Console(bytes)) => match console(&bytes) {
                Ok(None) => {}
                Ok(Some(code)) => return Next::Halted(code),
                Err(_) => return Next::Unheard,
            },
            Ok(Event::Signal(signal)) => return Next::Signal(signal),
            Ok(Event::ConsoleClosed) | Err(RecvTimeoutError::Disconnected) => return Next::Closed,
            Err(RecvTimeoutError::Timeout) => return Next::Over,
        }
    }
}

/// Follows the machine until it ends; `Some` says why it must be ended before.
fn follow(events: &Receiver<Event>, timeout: Option<Duration>, console: &mut Console<'_>) -> Option<Ending> {
    let end = timeout.map(|timeout| Instant::now() + timeout);
    match hear(events, end, console) {
        Next::Closed => None,
        Next::Signal(signal) => Some(Ending::Stopped(signal)),
        Next::Halted(code) => Some(Ending::Halted(code)),
        Next::Unheard => Some(Ending::Unheard),
        Next::Over => timeout.map(Ending::TimedOut),
    }
}

/// Asks the machine to stop, by its power button, and waits. `Some` says why it must be ended: it does not stop, or a second
/// signal shows impatience; or it crashes meanwhile.
fn stop_in_order(
    qmp: &mut Qmp,
    signal: i32,
    events: &Receiver<Event>,
    (limit, hurry): (Duration, &str),
    console: &mut Console<'_>,
) -> Option<Ending> {
    let start = Instant::now();
    let mut is_silent = true;
    while start.elapsed() < limit {
        if qmp.press_power_button().is_err() {
            // No QEMU that could be asked; perhaps because it has just ended.
            let has_ended = hear_the_end(events, Instant::now() + GRACE / 10, console);
            return Some(Ending::Stopped(signal)).filter(|_| !has_ended);
        }
        if is_silent && start.elapsed() >= STOP_SILENCE {
            is_silent = false;
            let limit = limit.as_secs();
            say(&format!("the machine has {limit} s to stop in order; {hurry} ends it at once"));
        }
        let press = Instant::now() + PRESS_INTERVAL;
        loop {
            match hear(events, Some(press), console) {
                Next::Over => break,
                Next::Closed => return None,
                Next::Signal(signal) => return Some(Ending::Stopped(signal)),
                Next::Halted(code) => return Some(Ending::Halted(code)),
                // A terminal that was closed: its machine stops in order all the same.
                Next::Unheard => {}
            }
        }
    }
    say(&format!("the machine did not stop in {} s and is ended", limit.as_secs()));
    Some(Ending::Stopped(signal))
}

/// On stderr, which may be closed.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "unikernel: {text}");
}

/// Asks QEMU to end, and kills it if it does not, or if a second signal shows impatience.
fn stop(child: &mut Child, events: &Receiver<Event>, console: &mut Console<'_>) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    if !asked || !hear_the_end(events, Instant::now() + GRACE, console) {
        // It may have ended meanwhile, which is what we want.
        let _ = child.kill();
        hear_the_end(events, Instant::now() + GRACE, console);
    }
}

/// Whether the console is closed before the end of this time; what it still says is handed over.
fn hear_the_end(events: &Receiver<Event>, end: Instant, console: &mut Console<'_>) -> bool {
    loop {
        match hear(events, Some(end), console) {
            Next::Closed => return true,
            Next::Signal(_) | Next::Over => return false,
            // Who cannot be told does not stop the machine from ending.
            Next::Halted(_) | Next::Unheard => {}
        }
    }
}

/// Whether this process was started to go on when its terminal is closed (`nohup`).
fn ignores_hangups() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// QEMU's monitor, which does whatever it is told.
    fn monitor() -> Qmp {
        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || {
            for _ in BufReader::new(&theirs).lines() {
                writeln!(&theirs, "{{\"return\": {{}}}}").unwrap();
            }
        });
        Qmp::new(ours).unwrap()
    }

    /// The events that these words are: `closed`, a signal's number, or something that the console says.
    fn events(words: &str) -> (SyncSender<Event>, Receiver<Event>) {
        let (sender, events) = mpsc::sync_channel(EVENTS_MAX);
        for word in words.split(' ') {
            let said = || Event::Console(word.into());
            let event = if word == "closed" {
                Event::ConsoleClosed
            } else {
                word.parse().map_or_else(|_| said(), Event::Signal)
            };
            sender.send(event).unwrap();
        }
        (sender, events)
    }

    /// Notes what is handed over; `crash` halts the machine, and `unheard` is what nobody listens to.
    fn listener(heard: &mut Vec<String>) -> impl FnMut(&[u8]) -> io::Result<Option<u8>> {
        |bytes| {
            heard.push(String::from_utf8_lossy(bytes).into_owned());
            match bytes {
                b"crash" => Ok(Some(101)),
                b"unheard" => Err(io::ErrorKind::BrokenPipe.into()),
                _ => Ok(None),
            }
        }
    }

    fn check(words: &str, heard_words: &str, expected: Option<Ending>) {
        let (_sender, events) = events(words);
        let mut heard = Vec::new();
        let limit = Duration::from_millis(300);
        let ending = stop_in_order(&mut monitor(), SIGTERM, &events, (limit, "more"), &mut listener(&mut heard));
        assert_eq!((ending, &*heard.join(" ")), (expected, heard_words), "{words}");
    }

    #[test]
    fn a_stop_in_order_has_an_end() {
        check("bye closed", "bye", None);
        check("bye", "bye", Some(Ending::Stopped(SIGTERM)));
        check("bye 2 more", "bye", Some(Ending::Stopped(SIGINT)));
        check("bye crash more", "bye crash", Some(Ending::Halted(101)));
        check("unheard bye closed", "unheard bye", None);
    }

    #[test]
    fn one_that_talks_all_the_time_is_stopped_in_time_and_heard_to_its_end() {
        let (_sender, events) = events("a crash unheard b closed");
        let mut heard = Vec::new();
        let ending = follow(&events, Some(Duration::ZERO), &mut listener(&mut heard));
        assert_eq!((ending, heard.len()), (Some(Ending::TimedOut(Duration::ZERO)), 0));
        assert!(!hear_the_end(&events, Instant::now(), &mut listener(&mut heard)));
        assert!(hear_the_end(&events, Instant::now() + GRACE, &mut listener(&mut heard)));
        assert_eq!(heard.join(" "), "a crash unheard b");
    }
}
