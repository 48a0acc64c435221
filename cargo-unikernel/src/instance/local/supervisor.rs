//! The process that watches over one instance: starts its machine, keeps what it says, answers commands, starts it again.
//!
//! It is in a session of its own, without a terminal. The command that made it holds its stdin until it has said `keep`: so a
//! command that is interrupted, or killed, leaves no supervisor behind.

use std::{
    env,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, TERM_SIGNALS},
    iterator::Signals,
};

use super::{
    control::{self, Reply, Request},
    log::{self, Log, SharedLog},
    record::{Description, Ledger, Phase, now_ms},
    run::{self, Outcome},
    save,
    shared::Shared,
    store::Folder,
};
use crate::{
    instance::{
        provider::{Ended, Urgency},
        restart::Backoff,
    },
    net,
};

/// Which instance.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Its folder.
    folder: PathBuf,
    /// It is new, and goes if the command that makes it does.
    #[arg(long)]
    new: bool,
    /// It goes on where a copied one stood still: the file with its memory.
    #[arg(long)]
    incoming: Option<PathBuf>,
}

/// What the command is told when the machine runs.
pub const READY: &str = "ready";
/// What it is told instead, before the reason.
pub const FAILED: &str = "failed ";
/// What the command says when it has heard that the machine runs.
pub const KEEP: &str = "keep";

/// Watches over the instance until it ends for good.
pub fn supervise(arguments: Arguments) -> Result<u8> {
    watch_over(arguments).map(|()| 0).inspect_err(|problem| tell(&format!("{FAILED}{problem:#}")))
}

fn watch_over(arguments: Arguments) -> Result<()> {
    // Fails only for the leader of a group, who was started by hand.
    let _ = rustix::process::setsid();
    env::set_current_dir("/").context("cannot go to the root folder")?;
    let folder = Folder::at(arguments.folder.clone())?;
    net::own::enter(&Description::read(&folder)?.options()?.nets)?;
    let vigil = folder.become_supervisor()?;
    let log = Arc::new(Mutex::new(Log::open(&folder)));
    let relay = relay_own_messages(&log)?;
    let shared = Arc::new(Shared::default());
    let ledger = Arc::new(Ledger::begin(&folder)?);
    watch_command(&shared);
    watch_signals(&shared)?;
    let listener = control::listen(&folder)?;
    let desk = Desk { shared: Arc::clone(&shared), ledger: Arc::clone(&ledger), log: Arc::clone(&log) };
    thread::spawn(move || desk.serve(&listener));

    let incoming = arguments.incoming;
    let mut supervisor = Supervisor { folder, ledger, shared, log, relay, is_ready: false, incoming };
    let result = supervisor.watch();
    control::close(&supervisor.folder);
    if arguments.new && !supervisor.shared.is_kept() {
        // Nothing of it stays. The command removes it too, if it still lives.
        let _ = fs::remove_dir_all(supervisor.folder.path());
    }
    drop(vigil);
    result
}

/// What this process would say on stderr goes to the instance's log; nobody else would hear it.
///
/// Called again, it is another thread that does so, and the one before ends when it has handed on everything.
fn relay_own_messages(log: &SharedLog) -> Result<JoinHandle<()>> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    rustix::stdio::dup2_stderr(&writer).context("cannot replace stderr")?;
    let log = Arc::clone(log);
    Ok(thread::spawn(move || {
        let lines = BufReader::new(reader).split(b'\n').map_while(Result::ok);
        lines.for_each(|line| log::with(&log, |log| log.append(&String::from_utf8_lossy(&line))));
    }))
}

/// Until it has said `keep`, the command's end is ours.
fn watch_command(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut word = String::new();
        let heard = io::stdin().lock().read_line(&mut word);
        if heard.is_ok() && word.trim_end() == KEEP {
            // Nothing of the command's stays open.
            if let Ok(nothing) = File::options().read(true).write(true).open("/dev/null") {
                let _ = rustix::stdio::dup2_stdin(&nothing);
                let _ = rustix::stdio::dup2_stdout(&nothing);
            }
            shared.keep();
        } else {
            shared.abandon();
        }
    });
}

fn watch_signals(shared: &Arc<Shared>) -> Result<()> {
    let mut signals = Signals::new(TERM_SIGNALS.iter().chain([&SIGHUP])).context("cannot listen for signals")?;
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        // The second shows impatience.
        let urgencies = [Urgency::InOrder, Urgency::Now];
        signals.forever().zip(urgencies).for_each(|(_, urgency)| shared.stop(urgency));
    });
    Ok(())
}

/// Before somebody who connects is waited for again after a failure, such as of too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Where commands ask.
#[derive(Clone)]
struct Desk {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    log: SharedLog,
}

impl Desk {
    fn serve(&self, listener: &UnixListener) {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                thread::sleep(PAUSE);
                continue;
            };
            let desk = self.clone();
            // Who asks may go at any moment.
            thread::spawn(move || drop(desk.answer(stream)));
        }
    }

    fn answer(&self, mut stream: UnixStream) -> Result<()> {
        let reply =
            |result: Result<()>| result.map_or_else(|problem| Reply::Failed(format!("{problem:#}")), |()| Reply::Done);
        let request = match control::request_of(&mut stream) {
            Ok(request) => request,
            Err(problem) => return control::send(&mut stream, &reply(Err(problem))),
        };
        match request {
            Request::Stop { now } => {
                // First the answer: with nothing to stop, this process ends at once.
                let answered = control::send(&mut stream, &reply(self.ledger.stopping()));
                self.shared.stop(if now { Urgency::Now } else { Urgency::InOrder });
                answered
            }
            Request::Follow => {
                let follower = stream.try_clone()?;
                control::send(&mut stream, &Reply::Done)?;
                log::with(&self.log, |log| log.add_follower(follower));
                until_closed(&mut stream, |_| ());
                Ok(())
            }
            Request::Console => {
                control::send(&mut stream, &Reply::Done)?;
                self.shared.add_console(stream.try_clone()?);
                until_closed(&mut stream, |keys| self.shared.type_in(keys));
                Ok(())
            }
            Request::Save { memory, disks } => {
                let saved = self.shared.with_monitor(|monitor| save::save(monitor, &memory, &disks));
                control::send(&mut stream, &reply(saved))
            }
        }
    }
}

fn until_closed(stream: &mut UnixStream, mut hear: impl FnMut(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        hear(&buffer[..len]);
    }
}

struct Supervisor {
    folder: Folder,
    ledger: Arc<Ledger>,
    shared: Arc<Shared>,
    log: SharedLog,
    relay: JoinHandle<()>,
    /// The machine has run, and the command knows.
    is_ready: bool,
    incoming: Option<PathBuf>,
}

impl Supervisor {
    /// One machine after the other, until there is to be no other.
    fn watch(&mut self) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            let start = Instant::now();
            let outcome = self.run_once()?;
            let next = outcome.restart.applies_to(outcome.code) && self.is_ready && self.shared.wish().is_none();
            self.note_end(outcome, next)?;
            if !next {
                return Ok(());
            }
            let wait = backoff.next(start.elapsed());
            self.say(&format!("it starts again in {} s", wait.as_secs_f64()));
            if self.shared.wait_for_wish(wait) {
                return self.ledger.change(|status| status.phase = Phase::Stopped);
            }
            self.ledger.change(|status| status.restarts = status.restarts.saturating_add(1))?;
        }
    }

    fn run_once(&mut self) -> Result<Outcome> {
        let incoming = self.incoming.take();
        let (ledger, is_ready) = (&self.ledger, &mut self.is_ready);
        let mut running = |pid: u32, accel: &str| {
            ledger.change(|status| {
                (status.phase, status.since_ms) = (Phase::Running, now_ms());
                (status.pid, status.accel) = (Some(pid), Some(accel.to_owned()));
            })?;
            if !std::mem::replace(is_ready, true) {
                tell(READY);
            }
            Ok(())
        };
        let outcome = run::run(&self.folder, &self.shared, &self.log, incoming.as_deref(), &mut running);
        self.shared.forget_machine();
        // What was said about the end comes before what we say.
        let relay = std::mem::replace(&mut self.relay, relay_own_messages(&self.log)?);
        let _ = relay.join();
        Ok(outcome)
    }

    fn note_end(&self, outcome: Outcome, starts_again: bool) -> Result<()> {
        let ended = Ended { code: outcome.code, words: outcome.words, at_ms: now_ms() };
        self.say(&ended.words);
        let phase = match (starts_again, self.shared.wish()) {
            (true, _) => Phase::Restarting,
            (false, Some(_)) => Phase::Stopped,
            (false, None) => Phase::Ended,
        };
        let failure = format!("{FAILED}{}", ended.words.replace('\n', " "));
        self.ledger.change(|status| {
            (status.phase, status.since_ms, status.ended) = (phase, ended.at_ms, Some(ended));
            (status.pid, status.accel) = (None, None);
        })?;
        if !self.is_ready {
            tell(&failure);
        }
        Ok(())
    }

    /// In the log.
    fn say(&self, text: &str) {
        log::with(&self.log, |log| log.append(&format!("unikernel: {text}")));
    }
}

/// To the command that waits; it may be gone.
fn tell(word: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{word}").and_then(|()| stdout.flush());
}
