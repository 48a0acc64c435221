//! The kernel's interfaces, read and changed with `ip` of iproute2: so what is done can be printed, and pasted.

use std::{
    env, fs,
    net::Ipv4Addr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::subnet::Subnet;
use crate::qemu;

/// A command, the program first.
pub type Words = Vec<String>;

/// `ip`, for the interfaces of one network namespace.
#[derive(Clone, Debug)]
pub struct Ip {
    /// The namespace's name; without one, it is that of this process.
    pub netns: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Link {
    /// Its name.
    pub ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    /// What was written to it, see [`mark`](super::mark).
    #[serde(default, rename = "ifalias")]
    pub alias: String,
    /// The bridge that it is a port of.
    pub master: Option<String>,
    #[serde(default)]
    linkinfo: Value,
    #[serde(default)]
    addr_info: Vec<Value>,
}

impl Link {
    /// It is a bridge.
    pub fn is_bridge(&self) -> bool {
        self.linkinfo["info_kind"] == "bridge"
    }

    /// It is a tap.
    pub fn is_tap(&self) -> bool {
        self.linkinfo["info_kind"] == "tun" && self.linkinfo["info_data"]["type"] == "tap"
    }

    /// A program has it open. Of a tap that is not up this cannot be told.
    pub fn is_in_use(&self) -> bool {
        self.flags.iter().any(|flag| flag == "LOWER_UP")
    }

    /// It was set up.
    pub fn is_up(&self) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
    }

    /// Who may use it without being root; by name, or by number where that has none.
    pub fn owner(&self) -> Option<String> {
        match &self.linkinfo["info_data"]["user"] {
            Value::String(name) => Some(name.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// This computer's first IPv4 address on it.
    pub fn address(&self) -> Option<Subnet> {
        self.addresses().next()
    }

    fn addresses(&self) -> impl Iterator<Item = Subnet> {
        let address = |info: &Value| {
            let host: Ipv4Addr = info["local"].as_str()?.parse().ok()?;
            Subnet::new(host, u8::try_from(info["prefixlen"].as_u64()?).ok()?)
        };
        self.addr_info.iter().filter_map(address)
    }
}

impl Ip {
    /// Of this process's namespace.
    pub fn here() -> Ip {
        Ip { netns: None }
    }

    /// Of the namespace with this name.
    pub fn of(netns: &str) -> Ip {
        Ip { netns: Some(netns.to_owned()) }
    }

    /// The command with these words; a word in quotes may have blanks.
    pub fn words(&self, words: &str) -> Words {
        let start = self.netns.iter().flat_map(|name| ["-n", name]);
        let words = shlex::split(words).unwrap_or_default();
        ["ip"].into_iter().chain(start).map(str::to_owned).chain(words).collect()
    }

    /// All interfaces.
    pub fn links(&self) -> Result<Vec<Link>> {
        let text = output(&self.words("-d -j addr show"))?;
        // An empty namespace is an empty text to some versions, and some put `{}` between.
        let links: Vec<Value> = if text.trim().is_empty() { Vec::new() } else { parse(&text)? };
        let links = links.into_iter().filter(|link| link["ifname"].is_string());
        links
            .map(|link| serde_json::from_value(link).context("`ip` describes an interface as no version we know"))
            .collect()
    }

    /// Where this computer's packets go, and its own networks.
    pub fn subnets(&self, links: &[Link]) -> Result<Vec<Subnet>> {
        let text = output(&self.words("-j route show"))?;
        let routes: Vec<Value> = if text.trim().is_empty() { Vec::new() } else { parse(&text)? };
        // `default` is none.
        let of_routes = routes.iter().filter_map(|route| route["dst"].as_str()?.parse().ok());
        Ok(of_routes.chain(links.iter().flat_map(Link::addresses)).collect())
    }
}

fn parse(text: &str) -> Result<Vec<Value>> {
    serde_json::from_str(text).context("`ip` does not speak JSON; install iproute2 from 2018 or later")
}

/// The names of all network namespaces that have one.
pub fn namespaces() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// As a shell takes it.
pub fn shown(words: &Words) -> String {
    words.iter().map(|word| qemu::quote(word)).collect::<Vec<_>>().join(" ")
}

/// Runs one of these commands.
pub fn run(words: &Words) -> Result<()> {
    output(words).map(drop)
}

fn output(words: &Words) -> Result<String> {
    let output = start(words)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("RTNETLINK answers: ");
        bail!("`{}` failed: {}", shown(words), if said.is_empty() { "it says nothing" } else { said });
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` writes no text", shown(words)))
}

fn start(words: &Words) -> Result<Output> {
    let (program, rest) = words.split_first().context("no command")?;
    let mut command = Command::new(find(program)?);
    // A group of its own: Ctrl-C reaches us, not a change that is half made.
    command.args(rest).stdin(Stdio::null()).process_group(0);
    command.output().with_context(|| format!("cannot start {program}"))
}

/// Where it is: outside of root's PATH there are no folders for administrators, but `ip` only reads there.
pub fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("`{program}` is missing; install iproute2 (`apt-get install iproute2`)"))
}

/// Whether this process has a capability, by its number in capabilities(7).
fn has_capability(number: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> number & 1 == 1)
}

/// Whether interfaces may be made and changed: CAP_NET_ADMIN.
pub fn may_change() -> bool {
    has_capability(12)
}

/// Whether namespaces may be made and entered: CAP_SYS_ADMIN.
pub fn may_enter() -> bool {
    may_change() && has_capability(21)
}

/// Fails where taps cannot be opened.
pub fn check_tun() -> Result<()> {
    const TUN: &str = "/dev/net/tun";
    let opened = fs::File::options().read(true).write(true).open(TUN);
    let is_there = Path::new(TUN).exists();
    ensure!(
        is_there,
        "there is no {TUN}; load its module with `sudo modprobe tun`, or start the container with `--device {TUN}`"
    );
    opened.map(drop).with_context(|| {
        format!("cannot open {TUN}; let everybody with `sudo chmod 0666 {TUN}`, which gives nobody a tap of others")
    })
}
