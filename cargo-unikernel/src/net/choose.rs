//! Chooses interfaces and addresses for the ports of a machine.

use std::{fs, os::unix::fs::MetadataExt, process};

use anyhow::{Context, Result, bail, ensure};

use super::{
    address::{Where, hash},
    ip::{self, Ip, Link},
    kind::{Kind, Mac, Net},
    mark::Mark,
    own,
    plan::{Attachment, Plan, Wish, check_ports},
    subnet::{self, Subnet},
    sweep,
};
use crate::settings::Settings;

/// The bridge that is made where none is named.
pub const BRIDGE: &str = "unikernel0";
/// The namespace that is made where none is named.
const NETNS: &str = "unikernel";
/// Taps that are made get this and a number.
const TAP: &str = "uktap";

pub(super) struct Chooser<'a> {
    pub(super) plan: Plan,
    pub(super) settings: &'a Settings,
    pub(super) wish: &'a Wish<'a>,
    /// Those of shared networks, with the address that the machine has there.
    pub(super) shared: Vec<(String, Option<String>)>,
    /// Taps and networks that this plan takes.
    taken: Vec<String>,
    subnets: Vec<Subnet>,
}

impl<'a> Chooser<'a> {
    pub(super) fn new(plan: Plan, settings: &'a Settings, wish: &'a Wish<'a>) -> Chooser<'a> {
        Chooser { plan, settings, wish, shared: Vec::new(), taken: Vec::new(), subnets: Vec::new() }
    }

    pub(super) fn choose(mut self) -> Result<Plan> {
        let nets = &self.settings.nets;
        let needs_taps = nets.iter().any(|net| matches!(net.kind, Kind::Tap(_) | Kind::Bridge(_) | Kind::Netns(_)));
        if needs_taps && !self.wish.is_dry && ip::may_change() {
            sweep::sweep()?;
        }
        let in_netns = nets.iter().any(|net| matches!(net.kind, Kind::Netns(_)));
        ensure!(
            !in_netns || nets.len() == 1,
            "QEMU runs in the network namespace of `--net netns`, where other networks are not; leave away one `--net`"
        );
        for (index, net) in nets.iter().enumerate() {
            self.add(index, net).with_context(|| format!("`--net {net}`"))?;
        }
        if needs_taps && !self.wish.is_dry {
            ip::check_tun()?;
        }
        if !nets.iter().any(|net| net.kind == Kind::User) {
            check_ports(&self.settings.ports, &self.shared)?;
        }
        Ok(self.plan)
    }

    fn add(&mut self, index: usize, net: &Net) -> Result<()> {
        let (netdev, mac) = match &net.kind {
            Kind::None => return Ok(()),
            Kind::User => (self.user(), None),
            Kind::Private(name) => self.private(index, name)?,
            Kind::Tap(name) => self.tap(index, name.as_deref())?,
            Kind::Bridge(name) => self.bridge(index, &Ip::here(), name.as_deref(), false)?,
            Kind::Netns(name) => self.netns(index, name.as_deref())?,
        };
        self.plan.attachments.push(Attachment { netdev, mac: net.mac.or(mac) });
        Ok(())
    }

    /// Ports lead through the first of these.
    fn user(&self) -> String {
        let is_first = !self.plan.attachments.iter().any(|other| other.netdev.starts_with("user"));
        let ports = self.settings.ports.iter().filter(|_| is_first);
        ["user".to_owned()]
            .into_iter()
            .chain(ports.map(|port| format!("hostfwd={}", port.for_qemu())))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// QEMU's frames as datagrams to a group of the loopback interface: it takes no rights, and no process besides.
    fn private(&mut self, index: usize, name: &str) -> Result<(String, Option<Mac>)> {
        let key = format!("private-{name}");
        let table = self.plan.table.as_ref().context("the networks are not locked")?;
        let subnet = table.private(&key)?;
        let group = hash(&(rustix::process::geteuid().as_raw(), name));
        let [a, b, c, d, ..] = group.to_le_bytes();
        // An organisation's own groups (RFC 2365), and ports below those of outgoing connections.
        let port = 20_000 + u16::from_le_bytes([a, b]) % 10_000;
        let place = format!("on the private network `{name}`");
        let mac = self.address(
            index,
            &format!("private={name}"),
            Where { key, subnet: Some(subnet), host: None, place: &place },
        )?;
        Ok((format!("socket,mcast=239.255.{c}.{d}:{port},localaddr=127.0.0.1"), Some(mac)))
    }

    fn tap(&mut self, index: usize, name: Option<&str>) -> Result<(String, Option<Mac>)> {
        let here = Ip::here();
        let links = here.links()?;
        let there = match name {
            Some(name) => find(&links, name),
            None => self.kept_tap(&links, None)?,
        };
        let (tap, subnet) = match there {
            Some(link) => self.open_tap(&links, link, name.is_some())?,
            None => {
                let tap = name.map_or_else(|| self.free_tap(&links), str::to_owned);
                ensure!(!self.taken.contains(&tap), "the machine has the tap `{tap}` already; leave one away");
                self.needs_rights("making a tap", &format!("tap={tap}"))?;
                let subnet = self.free_subnet(here.subnets(&links)?)?;
                self.before(&here, &format!("tuntap add dev {tap} mode tap"));
                self.before(&here, &format!("link set dev {tap} alias '{}'", Mark::own().alias()));
                self.before(&here, &format!("addr add {subnet} dev {tap}"));
                self.before(&here, &format!("link set dev {tap} up"));
                self.after(&here, &format!("link del dev {tap}"));
                (tap, Some(subnet))
            }
        };
        let place = format!("on the tap {tap}");
        let at = Where { key: format!("link-{tap}"), subnet, host: subnet, place: &place };
        let mac = self.address(index, &format!("tap={tap}"), at)?;
        self.taken.push(tap.clone());
        Ok((tap_netdev(&tap), Some(mac)))
    }

    /// One that is there, and this computer's address behind it.
    fn open_tap(&mut self, links: &[Link], link: &Link, is_named: bool) -> Result<(String, Option<Subnet>)> {
        let tap = &link.ifname;
        ensure!(link.is_tap(), "there is an interface `{tap}` already, which is no tap; take another name");
        let is_free = !link.is_in_use() && (!is_named || self.claim_tap(tap)?);
        ensure!(is_free, "another machine uses the tap `{tap}`; take another one");
        if !link.is_up() {
            let up = format!("link set dev {tap} up");
            ensure!(ip::may_change() || self.wish.is_dry, "the tap `{tap}` is down; `sudo ip {up}`");
            self.before(&Ip::here(), &up);
        }
        let master = link.master.as_ref().and_then(|master| find(links, master));
        Ok((tap.clone(), link.address().or_else(|| master.and_then(our_address))))
    }

    fn bridge(&mut self, index: usize, ip: &Ip, name: Option<&str>, is_new: bool) -> Result<(String, Option<Mac>)> {
        let links = if is_new { Vec::new() } else { ip.links()? };
        let bridge = name.unwrap_or(BRIDGE);
        let (subnet, host) = match find(&links, bridge) {
            Some(link) if !link.is_bridge() => {
                bail!("there is an interface `{bridge}` already, which is no bridge; take another name")
            }
            Some(link) => (our_address(link), link.address()),
            None if name.is_some() => bail!(
                "there is no bridge `{bridge}`; make it with `{}`, or leave its name away",
                super::root_command(&format!("net up bridge={bridge}"))
            ),
            None => {
                let taken = if is_new { Vec::new() } else { ip.subnets(&links)? };
                let subnet = self.new_bridge(ip, bridge, taken)?;
                (Some(subnet), Some(subnet))
            }
        };
        let tap = match self.kept_tap(&links, Some(bridge))? {
            Some(link) => link.ifname.clone(),
            None => self.new_port(ip, bridge, &links)?,
        };
        let netns = ip.netns.as_ref();
        let (key, net, place) = match netns {
            Some(netns) => {
                let place = format!("in the network namespace `{netns}`, which `ip netns exec {netns} COMMAND` enters");
                (format!("netns-{netns}"), format!("netns={netns}"), place)
            }
            None if own::is_inside() => {
                let pid = process::id();
                let enter = format!("nsenter --target {pid} --user --net --preserve-credentials COMMAND");
                let place = format!("in a network namespace of its own, which `{enter}` enters");
                (format!("netns-{pid}"), "netns".into(), place)
            }
            None => (format!("link-{bridge}"), format!("bridge={bridge}"), format!("on the bridge {bridge}")),
        };
        let mac = self.address(index, &net, Where { key, subnet, host, place: &place })?;
        self.taken.push(tap.clone());
        Ok((tap_netdev(&tap), Some(mac)))
    }

    fn new_bridge(&mut self, ip: &Ip, bridge: &str, taken: Vec<Subnet>) -> Result<Subnet> {
        self.needs_rights("making a bridge", &format!("bridge={bridge}"))?;
        let subnet = self.free_subnet(taken)?;
        self.before(ip, &format!("link add dev {bridge} type bridge"));
        self.before(ip, &format!("link set dev {bridge} alias '{}'", Mark::Shared.alias()));
        self.before(ip, &format!("addr add {subnet} dev {bridge}"));
        self.before(ip, &format!("link set dev {bridge} up"));
        self.plan.last.insert(0, ip.words(&format!("link del dev {bridge}")));
        Ok(subnet)
    }

    fn new_port(&mut self, ip: &Ip, bridge: &str, links: &[Link]) -> Result<String> {
        self.needs_rights("another tap on the bridge", &format!("bridge={bridge}"))?;
        let tap = self.free_tap(links);
        self.before(ip, &format!("tuntap add dev {tap} mode tap"));
        self.before(ip, &format!("link set dev {tap} master {bridge} alias '{}'", Mark::own().alias()));
        self.before(ip, &format!("link set dev {tap} up"));
        self.after(ip, &format!("link del dev {tap}"));
        Ok(tap)
    }

    fn netns(&mut self, index: usize, name: Option<&str>) -> Result<(String, Option<Mac>)> {
        if name.is_none() && own::is_inside() {
            self.before(&Ip::here(), "link set dev lo up");
            return self.bridge(index, &Ip::here(), None, false);
        }
        let name = name.unwrap_or(NETNS);
        let ip = Ip::of(name);
        let is_there = ip::namespaces().iter().any(|other| other == name);
        ensure!(
            ip::may_enter() || self.wish.is_dry,
            "a namespace with a name needs root; leave the name away for one of your own, or start the machine with `sudo`"
        );
        if !is_there {
            self.before(&Ip::here(), &format!("netns add {name}"));
            self.before(&ip, &format!("link set dev lo alias '{}' up", Mark::Shared.alias()));
            self.plan.last.push(Ip::here().words(&format!("netns del {name}")));
        }
        self.plan.netns = Some(name.to_owned());
        self.bridge(index, &ip, None, !is_there)
    }

    /// A tap that was made for this user, on this bridge or on none, that nobody uses. Who may make interfaces gets a new one.
    fn kept_tap<'l>(&mut self, links: &'l [Link], master: Option<&str>) -> Result<Option<&'l Link>> {
        if ip::may_change() {
            return Ok(None);
        }
        let user = super::user_name();
        let number = rustix::process::geteuid().as_raw().to_string();
        let is_mine = |link: &Link| link.owner().is_some_and(|owner| owner == number || Some(&owner) == user.as_ref());
        let is_kept = |link: &Link| link.is_tap() && Mark::of(&link.alias) == Mark::Kept;
        let fits =
            |link: &&Link| is_kept(link) && link.is_up() && !link.is_in_use() && link.master.as_deref() == master;
        for link in links.iter().filter(fits).filter(|link| is_mine(link)) {
            if self.claim_tap(&link.ifname)? {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    /// Until QEMU has opened a tap, nobody sees that it will.
    fn claim_tap(&mut self, tap: &str) -> Result<bool> {
        // Other namespaces have taps of the same name.
        let namespace = fs::metadata("/proc/self/ns/net").map_or(0, |facts| facts.ino());
        let key = format!("taps.{namespace}");
        self.claim(&Where { key, subnet: None, host: None, place: tap }, None, tap)
    }

    fn free_tap(&self, links: &[Link]) -> String {
        let is_free = |name: &String| find(links, name).is_none() && !self.taken.contains(name);
        (0_u32..).map(|number| format!("{TAP}{number}")).find(is_free).unwrap_or_default()
    }

    fn free_subnet(&mut self, taken: Vec<Subnet>) -> Result<Subnet> {
        let taken: Vec<Subnet> = taken.into_iter().chain(self.subnets.iter().copied()).collect();
        let subnet = subnet::free(subnet::WITH_US, &taken).context(NO_SUBNET)?;
        self.subnets.push(subnet);
        Ok(subnet)
    }

    /// `what` is what `net up` makes.
    fn needs_rights(&self, why: &str, what: &str) -> Result<()> {
        ensure!(
            ip::may_change() || self.wish.is_dry,
            "{why} needs root; make what is needed once with `{}`, after which this needs none",
            super::root_command(&format!("net up {what}"))
        );
        Ok(())
    }

    fn before(&mut self, ip: &Ip, words: &str) {
        self.plan.before.push(ip.words(words));
    }

    fn after(&mut self, ip: &Ip, words: &str) {
        self.plan.after.push(ip.words(words));
    }
}

const NO_SUBNET: &str = "this computer's routes cover all networks that we take from; make the interface with an address of your own, \
                         `cargo unikernel net up --address 10.1.2.1/24`";

fn tap_netdev(tap: &str) -> String {
    format!("tap,ifname={tap},script=no,downscript=no")
}

pub(super) fn find<'l>(links: &'l [Link], name: &str) -> Option<&'l Link> {
    links.iter().find(|link| link.ifname == name)
}

/// The address of a bridge of ours. On others, somebody else gives addresses.
fn our_address(bridge: &Link) -> Option<Subnet> {
    let is_ours = matches!(Mark::of(&bridge.alias), Mark::Kept | Mark::Shared);
    bridge.address().filter(|_| is_ours)
}
