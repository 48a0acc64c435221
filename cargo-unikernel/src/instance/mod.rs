//! `cargo unikernel instance`: machines in the background, with names.
//!
//! A [`Provider`] runs them, at a [`Place`]: this computer ([`local`]; start there to see how an instance lives), or Amazon's cloud
//! (`aws`, with the feature of this name).

#[cfg(feature = "aws")]
pub mod aws;
pub mod create;
pub mod local;
mod name;
pub mod place;
pub mod provider;
pub mod restart;
pub mod view;

pub use create::Create;
pub use name::Name;
pub use place::Place;
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
use local::{Local, launch::Interrupted, supervisor};
use provider::{Lines, State, Summary, Urgency};

/// Where instances run, and what is done with them.
#[derive(clap::Args)]
pub struct Instance {
    /// Who runs them.
    #[arg(
        long,
        global = true,
        env = "UNIKERNEL_PROVIDER",
        hide_env_values = true,
        value_name = "PLACE",
        value_enum,
        default_value_t
    )]
    provider: Place,
    #[command(subcommand)]
    command: InstanceCommand,
}

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

impl Instance {
    /// Does it; the result is the exit code.
    pub fn exec(self) -> Result<u8> {
        let result = match (self.command, self.provider) {
            // It belongs to an instance, whatever the environment says now.
            (InstanceCommand::Supervise(arguments), _) => supervisor::supervise(arguments),
            (command, Place::Local) => command.at(Local::open),
            (command, Place::Aws) => on_aws(command),
        };
        match result {
            Err(error) if error.is::<Interrupted>() => {
                eprintln!("unikernel: {error:#}");
                Ok(error.downcast_ref().map_or(1, |Interrupted(signal)| 128 + *signal as u8))
            }
            result => unless_unheard(result),
        }
    }
}

#[cfg(feature = "aws")]
fn on_aws(command: InstanceCommand) -> Result<u8> {
    command.at(aws::Aws::open)
}

#[cfg(not(feature = "aws"))]
fn on_aws(_: InstanceCommand) -> Result<u8> {
    anyhow::bail!(
        "this tool was built without AWS, whose SDK takes minutes to build; from a checkout of the framework, install it with \
         `cargo install --path cargo-unikernel --features aws --profile tool`"
    )
}

impl InstanceCommand {
    fn at<P: Provider>(self, open: impl FnOnce() -> Result<P>) -> Result<u8> {
        match self {
            InstanceCommand::Create(create) => exec_create(*create, open),
            command => command.with(&open()?),
        }
    }

    fn with(self, provider: &impl Provider) -> Result<u8> {
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

fn exec_create<P: Provider>(create: Create, open: impl FnOnce() -> Result<P>) -> Result<u8> {
    let (dry_run, json) = (create.dry_run, create.json);
    let order = P::order(create)?;
    let provider = open()?;
    if dry_run {
        print(&provider.plan(&order)?)?;
    } else {
        tell(&[provider.create(order)?], json)?;
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

fn show_stats(provider: &impl Provider, Stats { names, json }: Stats) -> Result<()> {
    let running = |summary: &Summary| summary.pid.is_some() || summary.state == State::Running;
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
