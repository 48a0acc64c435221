//! The addresses of a machine: chosen, taken, and told to it and to whoever starts it.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    process,
};

use anyhow::{Context, Result, bail};

use super::{
    choose::Chooser,
    kind::{Kind, Mac},
    lease::Note,
    subnet::Subnet,
};

/// A network on which a machine needs an address.
pub(super) struct Where<'a> {
    /// The network's name among the leases.
    pub key: String,
    /// What addresses are taken from; without it, somebody else gives them.
    pub subnet: Option<Subnet>,
    /// This computer's address there.
    pub host: Option<Subnet>,
    /// In words.
    pub place: &'a str,
}

impl Chooser<'_> {
    /// Takes an address, tells the machine and whoever starts it, and makes an Ethernet address of it. `net` is what `--net` says.
    pub(super) fn address(&mut self, index: usize, net: &str, at: Where<'_>) -> Result<Mac> {
        let wanted = self.wanted(index);
        let own = wanted.as_ref().and_then(|value| value.split(',').next()?.parse::<Subnet>().ok());
        match (wanted, own, at.subnet) {
            (Some(_), Some(own), _) => match self.claim(&at, Some(own), &own.host.to_string())? {
                true => self.tell(net, &at, own),
                false => bail!(
                    "another machine has the address {} there; take another one, or leave it away for a free one",
                    own.host
                ),
            },
            (None, _, Some(subnet)) if self.wish.has_command_line => {
                let address = self.claim_free(&at, subnet)?;
                self.add_arguments(index, &at, address);
                self.tell(net, &at, address)
            }
            (wanted, ..) => self.leave_it_to_others(net, &at, wanted.is_some()),
        }
    }

    /// What its boot arguments say already.
    fn wanted(&self, index: usize) -> Option<String> {
        let long = format!("net{index}.ip=");
        let short = if index == 0 { "ip=" } else { &*long };
        let words = self.plan.boot_arguments.iter().rev();
        words
            .filter_map(|word| word.strip_prefix(short).or_else(|| word.strip_prefix(&*long)))
            .next()
            .map(str::to_owned)
    }

    /// Whether nobody else has that place.
    pub(super) fn claim(&mut self, at: &Where<'_>, address: Option<Subnet>, place: &str) -> Result<bool> {
        let table = self.plan.table.as_ref().context("the networks are not locked")?;
        let address = address.map(|address| address.to_string());
        let note = Note { pid: process::id(), machine: self.wish.machine.to_owned(), address };
        let lease = table.claim(&at.key, place, &note)?;
        let is_ours = lease.is_some();
        self.plan.leases.extend(lease);
        Ok(is_ours)
    }

    fn claim_free(&mut self, at: &Where<'_>, subnet: Subnet) -> Result<Subnet> {
        for address in subnet.for_machines() {
            if self.claim(at, Some(address), &address.host.to_string())? {
                return Ok(address);
            }
        }
        bail!(
            "all addresses of {subnet} are taken; stop a machine, or give this one an address with the boot argument `ip=`"
        )
    }

    fn add_arguments(&mut self, index: usize, at: &Where<'_>, address: Subnet) {
        let port = if index == 0 { String::new() } else { format!("net{index}.") };
        self.plan.boot_arguments.insert(0, format!("{port}ip={address}"));
        // A user network is the better way to elsewhere.
        let is_the_way = index == 0 && !self.settings.nets.iter().any(|net| net.kind == Kind::User);
        if let Some(host) = at.host.filter(|_| is_the_way) {
            self.plan.boot_arguments.insert(1, format!("gw={}", host.host));
        }
    }

    fn tell(&mut self, net: &str, at: &Where<'_>, address: Subnet) -> Result<Mac> {
        let there = at.host.map(|host| format!("; this computer is {} there", host.host)).unwrap_or_default();
        self.plan.says.push(format!("network: {} {}{there}", address.host, at.place));
        self.plan.addresses.push(address.host.to_string());
        self.shared.push((net.to_owned(), Some(address.host.to_string())));
        let [a, b, c, d] = address.host.octets();
        // Given by us, as the second bit of the first byte says.
        Ok(Mac([0x02, 0x75, a, b, c, d]))
    }

    /// Its Ethernet address is the same each time, as far as no other machine of this name is there.
    fn leave_it_to_others(&mut self, net: &str, at: &Where<'_>, is_told: bool) -> Result<Mac> {
        for number in 0..=u16::MAX {
            if !self.claim(at, None, &format!("port-{number}"))? {
                continue;
            }
            let how = if is_told || !self.wish.has_command_line {
                "its address is its own choice"
            } else {
                "it asks for an address by DHCP"
            };
            self.plan.says.push(format!("network: {}; {how}", at.place));
            self.shared.push((net.to_owned(), None));
            let computer = fs::read_to_string("/etc/machine-id").unwrap_or_default();
            let [a, b, c, d, ..] = hash(&(computer, &at.key, self.wish.machine, number)).to_le_bytes();
            return Ok(Mac([0x06, 0x75, a, b, c, d]));
        }
        bail!("there are too many machines on this network")
    }
}

pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
