//! `--net netns` without root: this process starts again in a user namespace of its own, where it may make interfaces.
//!
//! The kernel removes both namespaces, and all that is in them, with the last process that is there.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    process::{self, Command},
};

use anyhow::{Context, Result, bail};

use super::{
    ip::{self, Words, shown},
    kind::{Kind, Net},
};
use crate::qemu;

/// Set to the number of the process that has made namespaces and is alone there.
const INSIDE: &str = "UNIKERNEL_OWN_NETNS";

/// The user keeps its number, so that its files stay its own, and programs that it starts may make interfaces, too.
const UNSHARE: [&str; 6] = ["unshare", "--user", "--map-current-user", "--keep-caps", "--net", "--"];

/// Whether this process has done so.
pub fn is_inside() -> bool {
    // What it has started is there, too, but is not it.
    env::var(INSIDE).is_ok_and(|pid| pid == process::id().to_string())
}

/// Whether a machine on these networks needs it.
pub fn is_needed(nets: &[Net]) -> bool {
    nets.iter().any(|net| net.kind == Kind::Netns(None)) && !ip::may_enter() && !is_inside()
}

/// Starts this process again where it is needed, with the same arguments and the same number.
pub fn enter(nets: &[Net]) -> Result<()> {
    if !is_needed(nets) {
        return Ok(());
    }
    if env::var_os(INSIDE).is_some() {
        bail!("interfaces cannot be made in a user namespace here; start the machine with `sudo`");
    }
    let [program, options @ ..] = UNSHARE;
    let own = env::current_exe().context("cannot find the tool's own file")?;
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let mut command = Command::new(ip::find(program)?);
    command.args(options).arg(own).args(arguments).env(INSIDE, process::id().to_string());
    Err(command.exec()).context("cannot start unshare (package util-linux)")
}

/// The commands of this process, from outside.
pub(super) fn shell_line(before: &[Words], program: &str, arguments: &[OsString]) -> Option<String> {
    if !is_inside() {
        return None;
    }
    let qemu = format!("exec {}", qemu::shell_line(program, arguments));
    let script = before.iter().map(shown).chain([qemu]).collect::<Vec<_>>().join("; ");
    Some(format!("{} sh -ec {}", UNSHARE.join(" "), qemu::quote(&script)))
}
