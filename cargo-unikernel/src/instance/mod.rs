//! `cargo unikernel instance`: machines in the background, with names.
//!
//! A [`Provider`] runs them. There is one, [`local`]; start there to see how an instance lives.

pub mod create;
pub mod local;
mod name;
pub mod provider;
pub mod restart;
pub mod view;

pub use name::Name;
pub use provider::Provider;
pub use restart::Restart;

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use clap::Subcommand;

use crate::{
    fs::{print, unless_unheard},
    port::Port,
};
use create::Create;
use local::{Local, launch::Interrupted, supervisor};
use provider::{Lines, Summary, Urgency};

/// What is done with instances.
#[derive(Subcommand)]
pub enum InstanceCommand {
    /// Starts an app in the background, under a name.
    Create(Box<Create>),
    /// Lists all instances.
    #[command(alias = "ls")]
    List(List),
    /// Shows what an instance has said.
    Logs(Logs),
    /// Stops instances, in order: the app has the time of its `stop-timeout=`.
    Stop(Stop),
    /// Starts instances that do not run, as they were created.
    Start(Start),
    /// Stops instances and removes all that belongs to them.
    #[command(alias = "rm")]
    Delete(Delete),
    /// Shows what instances use: time of the processor, memory.
    Stats(Stats),
    /// Copies an instance that runs, with all that is in its memory; both run on.
    Clone(Clone),
    /// Joins this terminal and the serial port of an instance; Ctrl-] leaves it running.
    Console(Console),
    /// Watches over an instance; started by the others.
    #[command(hide = true)]
    Supervise(supervisor::Arguments),
}

/// How instances are listed.
#[derive(clap::Args)]
pub struct List {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Which lines of which log.
#[derive(clap::Args)]
pub struct Logs {
    /// The instance.
    name: Name,
    /// Goes on with what it says, until it ends.
    #[arg(short, long)]
    follow: bool,
    /// Only the lines of the last so many seconds.
    #[arg(long, value_name = "SECONDS")]
    since: Option<u64>,
    /// Only so many lines, the last ones.
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
    /// Shows when each line was written, in UTC.
    #[arg(short, long)]
    timestamps: bool,
}

/// Which instances, and how.
#[derive(clap::Args)]
pub struct Stop {
    /// The instances.
    #[arg(required = true)]
    names: Vec<Name>,
    /// At once, without asking the app.
    #[arg(long)]
    now: bool,
    /// Prints what became of them as JSON.
    #[arg(long)]
    json: bool,
}

/// Which instances.
#[derive(clap::Args)]
pub struct Start {
    /// The instances.
    #[arg(required = true)]
    names: Vec<Name>,
    /// Prints what became of them as JSON.
    #[arg(long)]
    json: bool,
}

/// Which instances, and how.
#[derive(clap::Args)]
pub struct Delete {
    /// The instances.
    #[arg(required = true)]
    names: Vec<Name>,
    /// Stops them at once, without asking the app.
    #[arg(long, alias = "force")]
    now: bool,
}

/// Which instances.
#[derive(clap::Args)]
pub struct Stats {
    /// The instances; without a name, all that run.
    names: Vec<Name>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What is copied, and as what.
#[derive(clap::Args)]
pub struct Clone {
    /// The instance.
    name: Name,
    /// The name of the copy.
    copy: Name,
    /// Forwards a port of this machine to the copy, as for `create`; repeat for several. Without it, each port of the instance
    /// gets a free one.
    #[arg(short, long = "port", value_name = "[ADDRESS:]HOST:GUEST[/udp]")]
    ports: Vec<Port>,
    /// Prints what was made as JSON.
    #[arg(long)]
    json: bool,
}

/// Which instance.
#[derive(clap::Args)]
pub struct Console {
    /// The instance.
    name: Name,
}

impl InstanceCommand {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        let result = match self {
            // It belongs to an instance, whatever the environment says now.
            InstanceCommand::Supervise(arguments) => supervisor::supervise(arguments),
            InstanceCommand::Create(create) => exec_create(*create),
            command => command.with(&Local::open()?),
        };
        match result {
            Err(error) if error.is::<Interrupted>() => {
                eprintln!("unikernel: {error:#}");
                Ok(error.downcast_ref().map_or(1, |Interrupted(signal)| 128 + *signal as u8))
            }
            result => unless_unheard(result),
        }
    }

    fn with(self, provider: &dyn Provider) -> Result<u8> {
        let urgency = |now| if now { Urgency::Now } else { Urgency::InOrder };
        match self {
            InstanceCommand::List(List { json: true }) => print(&view::json(&provider.list()?))?,
            InstanceCommand::List(List { json: false }) => write!(io::stdout(), "{}", view::table(&provider.list()?))?,
            InstanceCommand::Logs(logs) => {
                let Logs { name, follow, since, tail, timestamps } = logs;
                let lines = Lines { follow, since: since.map(Duration::from_secs), tail, timestamps };
                provider.logs(&name, &lines, &mut io::stdout())?;
            }
            InstanceCommand::Stop(Stop { names, now, json }) => {
                return each(&names, json, |name| provider.stop(name, urgency(now)));
            }
            InstanceCommand::Start(Start { names, json }) => return each(&names, json, |name| provider.start(name)),
            InstanceCommand::Delete(Delete { names, now }) => {
                names.iter().try_for_each(|name| provider.delete(name, urgency(now)))?;
            }
            InstanceCommand::Stats(stats) => show_stats(provider, stats)?,
            InstanceCommand::Clone(Clone { name, copy, ports, json }) => {
                tell(&[provider.clone(&name, &copy, &ports)?], json)?;
            }
            InstanceCommand::Console(Console { name }) => provider.console(&name)?,
            InstanceCommand::Create(_) | InstanceCommand::Supervise(_) => unreachable!("are done before"),
        }
        Ok(0)
    }
}

/// A dry run is of a command of this machine.
fn exec_create(create: Create) -> Result<u8> {
    let (dry_run, json) = (create.dry_run, create.json);
    let order = create.order()?;
    let local = Local::open()?;
    if dry_run {
        print(&local.plan(&order)?)?;
    } else {
        tell(&[local.create(order)?], json)?;
    }
    Ok(0)
}

/// One after the other, and what became of all of them.
fn each(names: &[Name], json: bool, work: impl FnMut(&Name) -> Result<Summary>) -> Result<u8> {
    tell(&names.iter().map(work).collect::<Result<Vec<_>>>()?, json)?;
    Ok(0)
}

fn tell(summaries: &[Summary], json: bool) -> Result<()> {
    match summaries {
        [one] if json => print(&view::json(one))?,
        _ if json => print(&view::json(&summaries))?,
        _ => summaries.iter().try_for_each(|summary| print(&view::sentence(summary)))?,
    }
    Ok(())
}

fn show_stats(provider: &dyn Provider, Stats { names, json }: Stats) -> Result<()> {
    let running = |summary: &Summary| summary.pid.is_some();
    let names = match names.is_empty() {
        true => provider.list()?.into_iter().filter(running).map(|summary| summary.name).collect(),
        false => names,
    };
    let usages = names.iter().map(|name| provider.stats(name)).collect::<Result<Vec<_>>>()?;
    if json {
        print(&view::json(&usages))?
    } else {
        write!(io::stdout(), "{}", view::usage_table(&usages))?
    }
    Ok(())
}
