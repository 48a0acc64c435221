//! Where this user's state is kept.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};

/// `$XDG_STATE_HOME/unikernel`, or `~/.local/state/unikernel` (XDG Base Directory Specification).
///
/// # Errors
///
/// Neither variable has an absolute path.
pub fn folder() -> Result<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let state = state.context("there is no place for what is kept; set HOME or XDG_STATE_HOME to an absolute path")?;
    Ok(state.join("unikernel"))
}
