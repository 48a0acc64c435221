//! `cargo unikernel net`: interfaces that stay, made once by root for a user who then needs no root; and which networks there are.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use serde::Serialize;
use signal_hook::{consts::TERM_SIGNALS, flag};

use super::{
    choose::find,
    ip::{self, Ip, Link, Words, shown},
    kind::{Kind, Net},
    lease::{Note, Table},
    mark::Mark,
    subnet::{self, Subnet},
    sweep,
};
use crate::{
    fs::{print, unless_unheard},
    inspect::table::{Align, Table as Shown},
};

/// What to do with networks.
#[derive(Subcommand)]
pub enum NetCommand {
    /// Makes a tap or a bridge that stays, for a user who then needs no root; run it as root.
    Up(Up),
    /// Removes what `up` has made; without names, what killed machines have left.
    Down(Down),
    /// Shows our interfaces and networks, and the machines on them.
    List(List),
}

/// What to make.
#[derive(clap::Args)]
pub struct Up {
    /// `tap=NAME`, or `bridge=NAME`. A bridge that is there already gets more taps.
    #[arg(value_name = "KIND=NAME")]
    net: Net,
    /// Who may connect machines; the one who called `sudo` if not given.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// This computer's address there; of a free network if not given.
    #[arg(long, value_name = "ADDRESS/LEN")]
    address: Option<Subnet>,
    /// For a bridge: how many machines may be on it at once.
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    taps: u8,
    /// Prints the commands instead of running them.
    #[arg(long)]
    dry_run: bool,
}

/// What to remove.
#[derive(clap::Args)]
pub struct Down {
    /// The names of interfaces.
    names: Vec<String>,
    /// Prints the commands instead of running them.
    #[arg(long, requires = "names")]
    dry_run: bool,
}

/// How to show it.
#[derive(clap::Args)]
pub struct List {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl NetCommand {
    /// Runs it.
    pub fn exec(self) -> Result<u8> {
        match self {
            NetCommand::Up(up) => up.exec(),
            NetCommand::Down(down) => down.exec(),
            NetCommand::List(list) => unless_unheard(list.exec().map(|()| 0)),
        }
    }
}

impl Up {
    fn exec(self) -> Result<u8> {
        let _turn = Table::open()?;
        let ip = Ip::here();
        let links = ip.links()?;
        let user = self.user.clone().or_else(|| env::var("SUDO_USER").ok()).or_else(super::user_name);
        let user = user.context("say for whom, with `--user NAME`")?;
        ensure!(is_user(&user), "`{user}` is no name of a user");
        let made = match &self.net.kind {
            _ if self.net.mac.is_some() => bail!("the address belongs to a machine; leave `mac=` away here"),
            Kind::Tap(Some(name)) => self.tap(&ip, &links, name, &user)?,
            Kind::Bridge(Some(name)) => self.bridge(&ip, &links, name, &user)?,
            _ => bail!("`{}` is nothing to make once; write `tap=NAME` or `bridge=NAME`", self.net),
        };
        if self.dry_run {
            return unless_unheard(
                made.iter().try_for_each(|(words, _)| print(&shown(words))).map(|()| 0).map_err(Into::into),
            );
        }
        allowed("net up")?;
        ip::check_tun()?;
        carry_out(&made)?;
        let text = format!(
            "{user} can now use `--net {}` without root; `net down {}` removes it",
            self.net,
            name_of(&self.net)
        );
        unless_unheard(print(&text).map(|()| 0).map_err(Into::into))
    }

    fn tap(&self, ip: &Ip, links: &[Link], name: &str, user: &str) -> Result<Vec<Step>> {
        ensure!(
            find(links, name).is_none(),
            "there is an interface `{name}` already; take another name, or `net down {name}`"
        );
        let subnet = self.subnet(ip, links)?;
        Ok(vec![
            step(ip, &format!("tuntap add dev {name} mode tap user {user}"), &format!("link del dev {name}")),
            step(ip, &format!("link set dev {name} alias '{}'", Mark::Kept.alias()), ""),
            step(ip, &format!("addr add {subnet} dev {name}"), ""),
            step(ip, &format!("link set dev {name} up"), ""),
        ])
    }

    fn bridge(&self, ip: &Ip, links: &[Link], name: &str, user: &str) -> Result<Vec<Step>> {
        let mut steps = match find(links, name) {
            Some(link) if !link.is_bridge() => {
                bail!("there is an interface `{name}` already, which is no bridge; take another name")
            }
            Some(_) => {
                ensure!(self.address.is_none(), "the bridge `{name}` is there already; leave `--address` away");
                Vec::new()
            }
            None => {
                let subnet = self.subnet(ip, links)?;
                vec![
                    step(ip, &format!("link add dev {name} type bridge"), &format!("link del dev {name}")),
                    step(ip, &format!("link set dev {name} alias '{}'", Mark::Kept.alias()), ""),
                    step(ip, &format!("addr add {subnet} dev {name}"), ""),
                    step(ip, &format!("link set dev {name} up"), ""),
                ]
            }
        };
        let free = (0_u32..).map(|number| format!("uktap{number}")).filter(|tap| find(links, tap).is_none());
        for tap in free.take(self.taps.into()) {
            let alias = Mark::Kept.alias();
            steps.push(step(ip, &format!("tuntap add dev {tap} mode tap user {user}"), &format!("link del dev {tap}")));
            steps.push(step(ip, &format!("link set dev {tap} master {name} alias '{alias}' up"), ""));
        }
        Ok(steps)
    }

    fn subnet(&self, ip: &Ip, links: &[Link]) -> Result<Subnet> {
        let taken = ip.subnets(links)?;
        let Some(wanted) = self.address else {
            return subnet::free(subnet::WITH_US, &taken)
                .context("no network is free; choose one with `--address 10.1.2.1/24`");
        };
        let other = taken.iter().find(|taken| taken.prefix_len > 0 && taken.overlaps(wanted));
        match other {
            Some(other) => {
                bail!("{wanted} is a part of {other}, where this computer has a way already; take another network")
            }
            None => Ok(wanted),
        }
    }
}

impl Down {
    fn exec(self) -> Result<u8> {
        let _turn = Table::open()?;
        let ip = Ip::here();
        if !self.dry_run {
            allowed("net down")?;
        }
        if self.names.is_empty() {
            return sweep::sweep().map(|()| 0);
        }
        let links = ip.links()?;
        let mut steps = Vec::new();
        for name in &self.names {
            let link = find(&links, name).with_context(|| {
                format!("there is no interface `{name}`; `cargo unikernel net list` shows which there are")
            })?;
            let is_kept = |link: &Link| Mark::of(&link.alias) == Mark::Kept;
            let taps: Vec<&Link> =
                links.iter().filter(|tap| tap.master.as_deref() == Some(name) && is_kept(tap)).collect();
            ensure!(
                is_kept(link) || !taps.is_empty(),
                "`{name}` was not made by `cargo unikernel net up`; remove it with `sudo ip link del dev {name}` if it is yours"
            );
            for link in taps.into_iter().chain(Some(link).filter(|link| is_kept(link))) {
                ensure!(!link.is_tap() || !link.is_in_use(), "a machine uses `{}`; stop it first", link.ifname);
                steps.push(step(&ip, &format!("link del dev {}", link.ifname), ""));
            }
        }
        if self.dry_run {
            return unless_unheard(
                steps.iter().try_for_each(|(words, _)| print(&shown(words))).map(|()| 0).map_err(Into::into),
            );
        }
        carry_out(&steps).map(|()| 0)
    }
}

/// A command, and what undoes it.
type Step = (Words, Option<Words>);

fn step(ip: &Ip, words: &str, undo: &str) -> Step {
    (ip.words(words), (!undo.is_empty()).then(|| ip.words(undo)))
}

/// All of it, or nothing: also when somebody presses Ctrl-C.
fn carry_out(steps: &[Step]) -> Result<()> {
    let is_interrupted = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        flag::register(*signal, Arc::clone(&is_interrupted)).context("cannot listen for signals")?;
    }
    for (done, (words, _)) in steps.iter().enumerate() {
        let result = ip::run(words);
        let result = if is_interrupted.load(Ordering::Relaxed) {
            Err(anyhow::anyhow!("interrupted; nothing is left"))
        } else {
            result
        };
        if let Err(problem) = result {
            for undo in steps[..=done].iter().rev().filter_map(|(_, undo)| undo.as_ref()) {
                // The step that failed may have made nothing.
                let _ = ip::run(undo);
            }
            return Err(problem);
        }
    }
    Ok(())
}

fn allowed(words: &str) -> Result<()> {
    let rest: Vec<String> = env::args().skip_while(|word| word != "net").skip(2).collect();
    let rest = rest.iter().map(|word| crate::qemu::quote(word)).collect::<Vec<_>>().join(" ");
    ensure!(ip::may_change(), "that needs root; run `{}`", super::root_command(format!("{words} {rest}").trim_end()));
    Ok(())
}

/// As useradd(8) takes them, and numbers.
fn is_user(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.$".contains(&byte))
        && !name.is_empty()
        && !name.starts_with('-')
}

fn name_of(net: &Net) -> String {
    net.kind.to_string().split_once('=').map(|(_, name)| name.to_owned()).unwrap_or_default()
}

/// A network of ours.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    /// As `--net` takes it.
    net: String,
    /// This computer's address there.
    address: Option<String>,
    /// It stays when no machine is on it.
    is_kept: bool,
    machines: Vec<Note>,
}

impl List {
    fn exec(self) -> Result<()> {
        let leases = Table::open()?.networks()?;
        let links = Ip::here().links().unwrap_or_else(|problem| {
            eprintln!("unikernel: only private networks can be seen: {problem:#}");
            Vec::new()
        });
        let rows = rows(&links, leases);
        let text = if self.json { serde_json::to_string_pretty(&rows)? } else { table(&rows) };
        Ok(print(text.trim_end())?)
    }
}

fn rows(links: &[Link], leases: Vec<(String, Vec<Note>)>) -> Vec<Row> {
    let is_network =
        |link: &&Link| Mark::of(&link.alias) != Mark::Foreign && link.master.is_none() && link.ifname != "lo";
    let mut rows: Vec<Row> = links.iter().filter(is_network).map(|link| row(link, Vec::new())).collect();
    for (key, machines) in leases {
        let net = match key.split_once('-') {
            Some(("link", name)) => match find(links, name) {
                Some(link) => row(link, Vec::new()).net,
                // In another namespace.
                None => format!("bridge={name}"),
            },
            Some((kind, name)) => format!("{kind}={name}"),
            // Taps that are in use.
            None => continue,
        };
        match rows.iter_mut().find(|row| row.net == net) {
            Some(row) => row.machines = machines,
            None => rows.push(Row { net, address: None, is_kept: false, machines }),
        }
    }
    rows.sort_by(|one, other| one.net.cmp(&other.net));
    rows
}

fn row(link: &Link, machines: Vec<Note>) -> Row {
    let kind = if link.is_bridge() { "bridge" } else { "tap" };
    let address = link.address().map(|address| address.to_string());
    Row { net: format!("{kind}={}", link.ifname), address, is_kept: Mark::of(&link.alias) == Mark::Kept, machines }
}

fn table(rows: &[Row]) -> String {
    let mut table = Shown::new(&["NET", "ADDRESS", "STAYS", "MACHINES"].map(|title| (title, Align::Left)));
    for row in rows {
        let machine = |note: &Note| {
            let address = note.address.as_deref().and_then(|address| address.split('/').next()).unwrap_or("?");
            format!("{} ({}) {address}", note.machine, note.pid)
        };
        let machines: Vec<String> = row.machines.iter().map(machine).collect();
        let stays = if row.is_kept { "yes" } else { "no" };
        table.push([row.net.clone(), row.address.clone().unwrap_or_default(), stays.into(), machines.join(", ")]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_user() {
        let check = |name: &str, expected: bool| assert_eq!(is_user(name), expected, "{name}");
        check("alice", true);
        check("1000", true);
        check("", false);
        check("-x", false);
        check("a b", false);
        check("a;b", false);
    }

    #[test]
    fn networks_are_listed_with_their_machines() {
        let link = |name: &str, mark: Mark| -> Link {
            let told = serde_json::json!({"ifname": name, "ifalias": mark.alias()});
            serde_json::from_value(told).unwrap()
        };
        let links = [link("eth0", Mark::Foreign), link("uktap0", Mark::Kept)];
        let note = Note { pid: 7, machine: "web".into(), address: Some("10.213.0.2/24".into()) };
        let leases = vec![("link-uktap0".into(), vec![note.clone()]), ("private-lan".into(), vec![note])];
        let text = table(&rows(&links, leases));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["private=lan", "no", "web", "(7)", "10.213.0.2"]);
        assert_eq!(lines[2], ["tap=uktap0", "yes", "web", "(7)", "10.213.0.2"]);
        assert_eq!(lines.len(), 3);
    }
}
