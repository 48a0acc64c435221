//! Becomes QEMU, after asking the kernel to end it with its parent: so no VM outlives a killed runner.
//!
//! `prctl(PR_SET_PDEATHSIG)` must be called in the child, between `fork` and `exec`. Running own code there
//! is `unsafe` in Rust; a process that makes the call and then replaces itself by QEMU is not.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command};

use anyhow::{Context, Result};

/// Whose child this is, and what to become.
#[derive(clap::Args)]
pub struct Arguments {
    parent: i32,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Replaces this process by the command; returns only when that fails.
pub fn exec(arguments: Arguments) -> Result<u8> {
    end_with_parent(arguments.parent)?;
    let (program, rest) = arguments.command.split_first().context("no command given")?;
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

#[cfg(target_os = "linux")]
fn end_with_parent(parent: i32) -> Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the request took effect; then nobody would ever end this VM.
    let still_there = getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    anyhow::ensure!(still_there, "the runner has ended");
    Ok(())
}

/// Other systems have no such request: there a runner that is killed outright leaves its VM running.
#[cfg(not(target_os = "linux"))]
fn end_with_parent(_parent: i32) -> Result<()> {
    Ok(())
}
