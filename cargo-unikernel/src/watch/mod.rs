//! `cargo unikernel watch`: builds and boots an app again whenever its source changes.
//!
//! The machine runs on while the next image is built, and when that fails. It is replaced when there is another image.

mod sources;

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{consts::TERM_SIGNALS, iterator::Signals};

use crate::{
    build::{self, Selection},
    runner,
    settings::Options,
    short::Short,
};
use sources::Sources;

/// Which app is watched, and what its machine is made of; the same options as those of `run`.
#[derive(clap::Args)]
// `-p` is both, see `Short`.
#[command(mut_arg("ports", |port| port.short(None)), mut_arg("package", |package| package.short(None)))]
pub struct Arguments {
    #[command(flatten)]
    short: Short,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    options: Options,
    /// Boot arguments (`key=value`), and other options of `cargo unikernel runner`.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

enum Event {
    /// A file of the app, or of a crate beside it, is another.
    Changed,
    Signal(i32),
    Ended(ExitStatus),
}

/// An editor writes several files, or one in several steps: a build begins when it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(100);
/// A machine that is to be replaced has so long to end in good order.
const GRACE: Duration = Duration::from_secs(1);

/// Goes on until it is told to stop; the result is the exit code of the last machine.
pub fn exec(mut arguments: Arguments) -> Result<u8> {
    arguments.short.apply(&mut arguments.selection, &mut arguments.options, false)?;
    // Once for all machines: who has a page open finds the next one at the same port.
    arguments.options.ports = runner::settle(&arguments.options.ports)?;
    let (sender, events) = mpsc::channel();
    let mut signals = Signals::new(TERM_SIGNALS).context("cannot listen for signals")?;
    let of_signals = sender.clone();
    thread::spawn(move || signals.forever().try_for_each(|signal| of_signals.send(Event::Signal(signal))));
    let of_files = sender.clone();
    // Nobody listening means that we end.
    let mut sources = Sources::new(&arguments.selection, move || drop(of_files.send(Event::Changed)))?;
    let mut watch = Watch { arguments, sender, events, machine: None };
    loop {
        // Before the build, so that no change during it is missed.
        sources.look_again()?;
        watch.build()?;
        if let Some(code) = watch.wait_for_change()? {
            return Ok(code);
        }
    }
}

struct Watch {
    arguments: Arguments,
    sender: Sender<Event>,
    events: Receiver<Event>,
    machine: Option<Machine>,
}

/// A machine that runs.
struct Machine {
    runner: Pid,
    /// The image, and when it was made.
    image: (PathBuf, SystemTime),
}

impl Watch {
    /// Builds, and replaces the machine if there is another image.
    fn build(&mut self) -> Result<()> {
        let begin = Instant::now();
        let Some(image) = build::image_if_it_builds(&self.arguments.selection)? else {
            let state = if self.machine.is_some() { "the machine runs on as it was; " } else { "" };
            eprintln!("unikernel: the build failed; {state}waiting for a change");
            return Ok(());
        };
        let made = fs::metadata(&image).and_then(|data| data.modified());
        let made = made.with_context(|| format!("cannot look at {}", image.display()))?;
        let image = (image, made);
        if self.machine.as_ref().is_some_and(|machine| machine.image == image) {
            return Ok(());
        }
        eprintln!("unikernel: built in {:.1} s, starting", begin.elapsed().as_secs_f64());
        self.stop(Signal::INT, GRACE)?;
        self.start(image)
    }

    fn start(&mut self, image: (PathBuf, SystemTime)) -> Result<()> {
        let own = env::current_exe().context("cannot find the tool's own file")?;
        let mut runner = Command::new(&own);
        // So that it ends with us, and the machine with it, however we end.
        runner.arg("babysit").arg(std::process::id().to_string()).arg("--").arg(&own);
        runner.arg("runner").arg(&image.0).args(self.arguments.options.words()).args(&self.arguments.arguments);
        // In a group of its own, so that Ctrl-C reaches it through us, once.
        let mut runner = runner.process_group(0).stdin(Stdio::null()).spawn().context("cannot start the runner")?;
        let pid = i32::try_from(runner.id()).ok().and_then(Pid::from_raw).context("the runner has no process id")?;
        let sender = self.sender.clone();
        thread::spawn(move || runner.wait().map(|status| sender.send(Event::Ended(status))));
        self.machine = Some(Machine { runner: pid, image });
        Ok(())
    }

    /// Ends the machine, if there is one: in good order, or at once when that takes too long. Its exit code.
    fn stop(&mut self, signal: Signal, grace: Duration) -> Result<Option<u8>> {
        let Some(machine) = self.machine.take() else { return Ok(None) };
        // It may have ended just now, and then says so.
        let _ = kill_process(machine.runner, signal);
        let mut limit = Instant::now() + grace;
        loop {
            match self.events.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(Event::Ended(status)) => return Ok(Some(code(status))),
                // What has changed is seen by the build that comes next.
                Ok(Event::Changed) => {}
                Ok(Event::Signal(_)) | Err(RecvTimeoutError::Timeout) => {
                    let _ = kill_process(machine.runner, signal);
                    limit = Instant::now() + grace;
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("we keep a sender"),
            }
        }
    }

    /// Waits until something has changed, and for the end of the changes. The exit code, if this is the end.
    fn wait_for_change(&mut self) -> Result<Option<u8>> {
        loop {
            match self.events.recv().context("we keep a sender")? {
                Event::Changed => break,
                Event::Signal(signal) => return self.end(signal).map(Some),
                Event::Ended(status) => {
                    self.machine = None;
                    eprintln!("unikernel: the machine ended with exit code {}; waiting for a change", code(status));
                }
            }
        }
        loop {
            match self.events.recv_timeout(QUIET) {
                Ok(Event::Changed) => {}
                Ok(Event::Signal(signal)) => return self.end(signal).map(Some),
                Ok(Event::Ended(_)) => self.machine = None,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Hands the signal on, and waits for as long as the app asks for; a second one ends it at once.
    fn end(&mut self, signal: i32) -> Result<u8> {
        let passed_on = Signal::from_named_raw(signal).unwrap_or(Signal::TERM);
        let code = self.stop(passed_on, Duration::from_secs(3600))?;
        Ok(code.unwrap_or(128 + u8::try_from(signal).unwrap_or(0)))
    }
}

/// As shells have it.
fn code(status: ExitStatus) -> u8 {
    let by_signal = || status.signal().and_then(|signal| u8::try_from(128 + signal).ok());
    status.code().and_then(|code| u8::try_from(code).ok()).or_else(by_signal).unwrap_or(1)
}

/// Whether a change of this file is one of the app.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // What editors write beside a file while they save it.
    !name.starts_with('.') && !name.ends_with('~') && !name.starts_with('#') && name != "4913"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_leave_is_no_source() {
        for (path, expected) in [
            ("src/main.rs", true),
            ("site/index.html", true),
            ("Cargo.toml", true),
            ("src/.main.rs.swp", false),
            ("src/main.rs~", false),
            ("src/#main.rs#", false),
            ("src/4913", false),
        ] {
            assert_eq!(is_source(Path::new(path)), expected, "{path}");
        }
    }
}
