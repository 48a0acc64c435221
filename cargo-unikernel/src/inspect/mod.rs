//! Looks inside a machine that runs: `cargo unikernel ps`, `netstat`, `top`, `tcpdump`, `log-level`, `ping`. The machine's side
//! is the crate `unikernel-inspect`.

mod chunks;
mod client;
mod dump;
mod levels;
mod lists;
mod ping;
mod records;
mod sites;
pub(crate) mod table;
mod top;

pub use dump::Tcpdump;
pub use levels::LogLevel;
pub use lists::{Netstat, Ps};
pub use ping::Ping;
pub use top::Top;

use anyhow::{Context, Result};
use client::Client;
use unikernel_inspect::Key;

use crate::fs::{print, unless_unheard};

/// Which machine, and how one gets in.
#[derive(clap::Args)]
struct Target {
    /// Where its boot argument `inspect=PORT` opened it: HOST:PORT.
    address: String,
    /// What its boot argument `inspect-key=` says. In the environment it is hidden from other users of this computer.
    #[arg(long, env = "UNIKERNEL_INSPECT_KEY", hide_env_values = true)]
    key: Option<String>,
}

impl Target {
    fn open(&self) -> Result<Client> {
        let key = self.key.as_deref().context(
            "a key is needed, that of the machine's boot argument `inspect-key=KEY`; give it with --key KEY, or in the \
             environment variable UNIKERNEL_INSPECT_KEY",
        )?;
        Client::open(&self.address, key.parse::<Key>()?)
    }
}

/// Prints the result.
fn show(text: &str) -> Result<u8> {
    unless_unheard(print(text.trim_end()).map(|()| 0).map_err(Into::into))
}
