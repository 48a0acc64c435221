//! What the network ports of a machine need: the words for QEMU, commands before and after, addresses. Made first, as a
//! whole, so that it can be printed instead of done.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{
    choose::Chooser,
    ip::{self, Words, shown},
    kind::Mac,
    lease::{Lease, Table},
    own, sweep,
};
use crate::{port::Port, qemu, settings::Settings};

/// A network port, as QEMU makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The value of `-netdev`, without its id.
    pub netdev: String,
    /// QEMU's own without one.
    pub mac: Option<Mac>,
}

/// All that a machine's network needs. Until it is set up or dropped, nobody else of this user plans.
pub struct Plan {
    /// The ports, in their order.
    pub attachments: Vec<Attachment>,
    /// Boot arguments with its addresses.
    pub boot_arguments: Vec<String>,
    /// Where QEMU runs.
    pub(super) netns: Option<String>,
    pub(super) before: Vec<Words>,
    pub(super) after: Vec<Words>,
    /// Done by whoever is the last to use them.
    pub(super) last: Vec<Words>,
    /// The machine's addresses that are known before it starts.
    pub addresses: Vec<String>,
    pub(super) says: Vec<String>,
    pub(super) leases: Vec<Lease>,
    pub(super) table: Option<Table>,
}

/// What is asked of a plan besides the settings.
pub struct Wish<'a> {
    /// The machine's name.
    pub machine: &'a str,
    /// Its boot arguments.
    pub boot_arguments: &'a [String],
    /// Whether it gets them from us.
    pub has_command_line: bool,
    /// The plan is only to be shown, so it may be one that nobody here has the right to carry out.
    pub is_dry: bool,
}

impl Plan {
    /// Looks at what is there, and changes nothing.
    pub fn new(settings: &Settings, wish: &Wish<'_>) -> Result<Plan> {
        let is_shared = settings.nets.iter().any(super::Net::is_shared);
        let table = if is_shared { Some(Table::open()?) } else { None };
        let plan = Plan {
            attachments: Vec::new(),
            boot_arguments: wish.boot_arguments.to_vec(),
            netns: None,
            before: Vec::new(),
            after: Vec::new(),
            last: Vec::new(),
            addresses: Vec::new(),
            says: Vec::new(),
            leases: Vec::new(),
            table,
        };
        Chooser::new(plan, settings, wish).choose()
    }

    /// The QEMU command, in the namespace where that runs.
    pub fn command(&self, program: &Path, arguments: Vec<OsString>) -> Result<(PathBuf, Vec<OsString>)> {
        let Some(netns) = &self.netns else { return Ok((program.to_owned(), arguments)) };
        let start = ["netns".into(), "exec".into(), netns.into(), program.into()];
        Ok((ip::find("ip")?, start.into_iter().chain(arguments).collect()))
    }

    /// Every command, in order, a line each.
    pub fn shell_lines(&self, program: &str, arguments: &[OsString]) -> String {
        if let Some(line) = own::shell_line(&self.before, program, arguments) {
            return line;
        }
        let start = self.netns.iter().map(|netns| format!("ip netns exec {} ", qemu::quote(netns)));
        let line = start.collect::<String>() + &qemu::shell_line(program, arguments);
        let before = self.before.iter().map(shown);
        let after = self.after.iter().chain(&self.last).map(shown);
        before.chain([line]).chain(after).collect::<Vec<_>>().join("\n")
    }

    /// Does what comes before QEMU, or nothing of it.
    pub fn set_up(&mut self) -> Result<Up> {
        let is_privileged = !self.after.is_empty();
        let up = Up { after: std::mem::take(&mut self.after), leases: std::mem::take(&mut self.leases), is_privileged };
        for words in std::mem::take(&mut self.before) {
            if let Err(problem) = ip::run(&words) {
                // Who cleans up waits for those who choose.
                self.table = None;
                drop(up);
                return Err(problem);
            }
        }
        self.table = None;
        self.says.iter().for_each(|text| eprintln!("unikernel: {text}"));
        Ok(up)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        self.table.iter().for_each(|table| drop(table.networks()));
        if let Some(table) = &self.table {
            table.release(leases);
        }
    }
}

/// What was set up; dropped, it goes.
pub struct Up {
    after: Vec<Words>,
    leases: Vec<Lease>,
    is_privileged: bool,
}

impl Drop for Up {
    fn drop(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        // Without it the next machine finds all the same what is left.
        let table = Table::open().ok();
        for words in &self.after {
            // What was not made, because something before failed, is not there to be removed.
            let _ = ip::run(words);
        }
        if self.is_privileged {
            let _ = sweep::sweep();
        }
        if let Some(table) = &table {
            table.release(std::mem::take(&mut self.leases));
        }
    }
}

/// Ports lead through a user network.
pub(super) fn check_ports(ports: &[Port], says: &[(String, Option<String>)]) -> Result<()> {
    let (Some(port), Some((net, address))) = (ports.first(), says.first()) else { return Ok(()) };
    let way = match address {
        Some(address) if !net.starts_with("private") => {
            format!(
                "the machine has the address {address} there, so ask {address}:{}, and leave `--port` away",
                port.guest
            )
        }
        Some(address) => format!("its machines find this one at {address}:{}; leave `--port` away", port.guest),
        None => "ask the address that the machine says it has, and leave `--port` away".to_owned(),
    };
    bail!(
        "`--port` leads through a user network, and `--net {net}` is none: {way}, or add `--net user` for a second network port"
    )
}
