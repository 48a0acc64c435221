//! Removes interfaces and namespaces of ours that nobody uses any more: by each end, and by each start what was killed.

use anyhow::Result;

use super::{
    ip::{self, Ip, Link},
    mark::Mark,
};

/// Removes what belongs to processes that have ended, and then what was shared by them.
pub fn sweep() -> Result<()> {
    sweep_in(&Ip::here())?;
    for name in ip::namespaces().iter().filter(|_| ip::may_enter()) {
        let ip = Ip::of(name);
        // One that cannot be looked at was removed in this moment, or is none of ours.
        let Ok(links) = ip.links() else { continue };
        let is_ours = |link: &&Link| Mark::of(&link.alias) != Mark::Foreign;
        if links.iter().any(|link| is_ours(&link)) {
            let left = sweep_in(&ip)?;
            let is_shared = links.iter().any(|link| link.ifname == "lo" && Mark::of(&link.alias) == Mark::Shared);
            if is_shared && !left {
                ip::run(&Ip::here().words(&format!("netns del {name}")))?;
            }
        }
    }
    Ok(())
}

/// Whether something besides the loopback interface is left.
fn sweep_in(ip: &Ip) -> Result<bool> {
    let mut links = ip.links()?;
    let remove = |link: &Link| ip::run(&ip.words(&format!("link del dev {}", link.ifname)));
    for link in links.extract_if(.., |link| Mark::of(&link.alias).is_dead()) {
        remove(&link)?;
    }
    let masters: Vec<String> = links.iter().filter_map(|link| link.master.clone()).collect();
    let is_unused =
        |link: &mut Link| link.is_bridge() && Mark::of(&link.alias) == Mark::Shared && !masters.contains(&link.ifname);
    for link in links.extract_if(.., is_unused) {
        remove(&link)?;
    }
    Ok(links.iter().any(|link| link.ifname != "lo"))
}
