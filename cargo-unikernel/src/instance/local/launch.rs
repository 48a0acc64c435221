//! The command's side of a start: makes a supervisor, waits until the machine runs, and lets go of it.

use std::{
    env, fmt,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, Sender},
    thread,
};

use anyhow::{Context, Result, bail};
use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};

use super::{
    follow,
    store::Folder,
    supervisor::{FAILED, KEEP, READY},
};

/// Notices the signals that would end this process, so that it can clean up first.
pub struct Watch {
    sender: Sender<Heard>,
    events: Receiver<Heard>,
}

enum Heard {
    Signal(i32),
    /// What the supervisor says; nothing when it has ended.
    Word(String),
}

/// The error of a command that was told to end.
#[derive(Debug)]
pub struct Interrupted(pub i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted; nothing was changed")
    }
}

impl std::error::Error for Interrupted {}

impl Watch {
    /// From now on.
    pub fn new() -> Result<Watch> {
        let mut signals = Signals::new(TERM_SIGNALS).context("cannot listen for signals")?;
        let (sender, events) = mpsc::channel();
        let heard = sender.clone();
        thread::spawn(move || signals.forever().try_for_each(|signal| heard.send(Heard::Signal(signal))));
        Ok(Watch { sender, events })
    }

    /// Fails when a signal has come.
    pub fn check(&self) -> Result<()> {
        match self.events.try_recv() {
            Ok(Heard::Signal(signal)) => Err(Interrupted(signal).into()),
            _ => Ok(()),
        }
    }
}

/// How a machine is started.
#[derive(Clone, Copy, Default)]
pub struct Start<'a> {
    /// The instance is new.
    pub is_new: bool,
    /// The memory of the machine that it is a copy of.
    pub incoming: Option<&'a Path>,
}

/// Starts the machine of this instance, of which no supervisor lives. When that fails, no process is left.
pub fn launch(folder: &Folder, start: Start<'_>, watch: &Watch) -> Result<()> {
    watch.check()?;
    let own = env::current_exe().context("cannot find the tool's own file")?;
    let mut command = Command::new(own);
    command.args(["instance", "supervise"]).arg(folder.path());
    if start.is_new {
        command.arg("--new");
    }
    if let Some(memory) = start.incoming {
        command.arg("--incoming").arg(memory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("cannot start the supervisor")?;
    let (lifeline, stdout) = (child.stdin.take(), child.stdout.take().context("the supervisor has no stdout")?);
    let supervisor = Supervisor { child, lifeline };
    let sender = watch.sender.clone();
    thread::spawn(move || {
        let mut word = String::new();
        // Nothing is heard of one that has ended.
        let _ = BufReader::new(stdout).read_line(&mut word);
        sender.send(Heard::Word(word.trim_end().to_owned()))
    });
    match watch.events.recv().context("nothing is heard any more")? {
        Heard::Word(word) if word == READY => supervisor.keep(),
        Heard::Word(word) => {
            let reason = word.strip_prefix(FAILED).unwrap_or("the supervisor has ended").to_owned();
            let said = follow::last_lines(folder, SAID_MAX);
            bail!("`{}` does not start: {reason}{}", folder.name(), said)
        }
        Heard::Signal(signal) => Err(Interrupted(signal).into()),
    }
}

/// Of a machine that does not start: the end of what it and QEMU said.
const SAID_MAX: usize = 10;

/// Dropped, it ends with all that it has started.
struct Supervisor {
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Supervisor {
    fn keep(mut self) -> Result<()> {
        // One whose machine has ended already hears nothing any more.
        if let Some(mut lifeline) = self.lifeline.take() {
            let _ = writeln!(lifeline, "{KEEP}");
        }
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // It ends QEMU first, which has its own bounds.
        let _ = self.child.wait();
    }
}
