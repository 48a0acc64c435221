//! `cargo unikernel ping`: how long a machine takes to answer, tasks and all.

use std::{thread, time::Duration};

use anyhow::Result;
use serde_json::json;
use unikernel_inspect::wire::Pong;

use super::{Target, table::time};
use crate::fs::{print, unless_unheard};

/// Asks a machine whether it lives. The answer comes from a task, so it waits for its turn as others do.
#[derive(clap::Args)]
pub struct Ping {
    #[command(flatten)]
    target: Target,
    /// How often it is asked, once a second.
    #[arg(short = 'n', long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Prints JSON, a line each time.
    #[arg(long)]
    json: bool,
}

impl Ping {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        unless_unheard(self.ping())
    }

    fn ping(self) -> Result<u8> {
        let mut client = self.target.open()?;
        for turn in 0..self.count {
            if turn > 0 {
                thread::sleep(Duration::from_secs(1));
            }
            let (pong, took) = client.ask::<Pong>("GET", "/ping")?;
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            print(&match self.json {
                true => json!({"took_micros": micros, "uptime_micros": pong.uptime_micros}).to_string(),
                false => format!("answered after {}, up {}", time(micros), time(pong.uptime_micros)),
            })?;
        }
        Ok(0)
    }
}
