//! Networks that machines share: with each other, with this computer, with what is on a bridge.
//!
//! | question | module |
//! |---|---|
//! | what can `--net` say? | [`kind`] |
//! | what does that need? | [`plan`], chosen by [`choose`] and [`address`] |
//! | which interfaces are there, and how are they changed? | [`ip`]; [`mark`]: whose they are |
//! | which addresses are free? | [`subnet`], [`lease`] |
//! | how without root? | [`own`] |
//! | who removes what? | [`plan::Up`] at the end; [`sweep`] what was killed |
//! | which networks stay? | [`command`]: `cargo unikernel net` |

pub mod address;
pub mod choose;
pub mod command;
pub mod ip;
pub mod kind;
pub mod lease;
pub mod mark;
pub mod own;
pub mod plan;
pub mod subnet;
pub mod sweep;

use std::{env, process::Command};

use anyhow::{Result, ensure};

pub use kind::{Kind, Mac, Net};
pub use plan::{Attachment, Plan, Wish};

use crate::qemu;

/// The command that root is to run, for a shell: by its path, as root's PATH is another one.
fn root_command(words: &str) -> String {
    let own = env::current_exe().unwrap_or_else(|_| "cargo-unikernel".into());
    format!("sudo {} {words}", qemu::quote(&own.to_string_lossy()))
}

/// Fails where root has to make network devices first.
pub(crate) fn may_make_devices() -> Result<()> {
    ip::check_tun()?;
    ensure!(ip::may_change(), "that needs root, once: `{}`", root_command("net up bridge=unikernel0"));
    Ok(())
}

/// This user's, which interfaces are shown with.
fn user_name() -> Option<String> {
    let output = Command::new("id").arg("-un").output().ok()?;
    let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

/// After the end of a machine that may have been killed: removes what it left on these networks, where this user may.
pub fn sweep_after(nets: &[Net]) {
    if !nets.iter().any(Net::is_shared) {
        return;
    }
    let swept = lease::Table::open().and_then(|table| {
        table.networks()?;
        if ip::may_change() { sweep::sweep() } else { Ok(()) }
    });
    if let Err(problem) = swept {
        eprintln!("unikernel: `cargo unikernel net down` removes what is left of its network: {problem:#}");
    }
}
