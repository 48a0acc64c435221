//! Which groups a port listens to, and telling routers and switches so: IGMPv3 (RFC 3376), with IGMPv2 where a router
//! speaks only that, and MLDv2 (RFC 3810), with MLDv1.
//!
//! Every join counts; the last leave ends it. All sources are listened to. Others' reports do not keep us from
//! sending ours, as later versions want it. IGMPv1 queries are taken for those of version 2.

mod igmp;
pub(super) mod mld;
#[cfg(test)]
mod tests;

use super::{Turn, limits::*, packet::Mac};
use crate::neighbor::nd::{ALL_NODES, Message};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use unikernel_rt::time::{Duration, Instant};

/// Every IPv4 host of the link.
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

/// What a report says about a group (RFC 3376, 4.2.12; RFC 3810, 5.2.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// It is listened to: the answer to a query.
    Joined = 2,
    /// It is no longer.
    Leaves = 3,
    /// It is from now on.
    Joins = 4,
}

/// One group.
struct Member {
    group: IpAddr,
    /// How many have joined it; one of them may be our own address.
    joins: u32,
    /// Reports of the change that are left to send.
    reports: u8,
    /// A query waits for an answer.
    asked: bool,
    due: Instant,
}

impl Member {
    fn record(&self) -> Record {
        match self.joins {
            0 => Record::Leaves,
            _ if self.reports > 0 => Record::Joins,
            _ => Record::Joined,
        }
    }
}

/// There are [`GROUPS_MAX`] groups already, or this is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JoinError;

/// The groups of one port.
pub(crate) struct Groups {
    mac: Mac,
    members: Vec<Member>,
    /// Those of our own addresses.
    own: Vec<Ipv6Addr>,
    /// Until when a router of an older version is thought to be there: IPv4, IPv6.
    old_until: [Instant; 2],
    /// When the last report was sent.
    reported: Instant,
}

/// A query for one group or for all.
struct Query {
    group: Option<IpAddr>,
    /// Answers are spread over this time.
    wait: Duration,
    /// It is of an older version.
    old: bool,
}

impl Groups {
    pub(crate) fn new(mac: Mac) -> Groups {
        let never = Instant::default();
        Groups { mac, members: Vec::new(), own: Vec::new(), old_until: [never; 2], reported: never }
    }

    /// Listens to a group.
    pub(crate) fn join(&mut self, group: IpAddr, now: Instant) -> Result<(), JoinError> {
        if !group.is_multicast() {
            return Err(JoinError);
        }
        let full = self.members.len() >= GROUPS_MAX;
        match self.members.iter_mut().find(|member| member.group == group) {
            Some(member) if member.joins > 0 => member.joins = member.joins.saturating_add(1),
            Some(member) => (member.joins, member.reports, member.due) = (1, GROUP_REPORTS, now),
            None if full => return Err(JoinError),
            None => {
                self.members.push(Member { group, joins: 1, reports: GROUP_REPORTS, asked: false, due: now });
            }
        }
        Ok(())
    }

    /// Takes one join back.
    pub(crate) fn leave(&mut self, group: IpAddr, now: Instant) {
        if let Some(member) = self.members.iter_mut().find(|member| member.group == group && member.joins > 0) {
            member.joins -= 1;
            if member.joins == 0 {
                (member.reports, member.asked, member.due) = (GROUP_REPORTS, false, now);
            }
        }
    }

    /// Listens to what belongs to our addresses now.
    pub(crate) fn set_own(&mut self, mut groups: Vec<Ipv6Addr>, now: Instant) {
        // Addresses that end alike share a group.
        groups.sort_unstable();
        groups.dedup();
        let old = core::mem::take(&mut self.own);
        for group in &groups {
            if !old.contains(group) {
                // Without room the address still works wherever switches do not look at groups.
                let _ = self.join((*group).into(), now);
            }
        }
        for group in old.iter().filter(|group| !groups.contains(group)) {
            self.leave((*group).into(), now);
        }
        self.own = groups;
    }

    /// What is listened to, with the groups of all hosts.
    pub(crate) fn list(&self) -> impl Iterator<Item = IpAddr> {
        let joined = self.members.iter().filter(|member| member.joins > 0).map(|member| member.group);
        joined.chain([ALL_SYSTEMS.into(), ALL_NODES.into()])
    }

    /// Takes a whole Ethernet frame with IGMP in it.
    pub(crate) fn on_igmp(&mut self, frame: &[u8], turn: &mut Turn<'_>) {
        if let Some(query) = igmp::query(frame) {
            self.on_query(&query, true, turn);
        }
    }

    /// Takes a message of multicast listener discovery.
    pub(crate) fn on_mld(&mut self, message: &Message<'_>, turn: &mut Turn<'_>) {
        if let Some(query) = mld::query(message) {
            self.on_query(&query, false, turn);
        }
    }

    fn on_query(&mut self, query: &Query, v4: bool, turn: &mut Turn<'_>) {
        if query.old {
            self.old_until[usize::from(!v4)] = turn.now + OLD_QUERIER_TIME;
        }
        // One moment for all, so that they share a packet.
        let delay = turn.random_below(query.wait.min(QUERY_WAIT_MAX));
        let due = (turn.now + delay).max(self.reported + GROUP_REPORT_PAUSE_MIN);
        for member in &mut self.members {
            let meant = query.group.is_none_or(|group| group == member.group);
            if member.group.is_ipv4() == v4 && member.joins > 0 && meant && is_reported(member.group) {
                let before = if member.asked || member.reports > 0 { member.due } else { Instant::FOREVER };
                (member.asked, member.due) = (true, before.min(due));
            }
        }
    }

    /// Sends the reports that are due, from these addresses of ours.
    pub(crate) fn poll(&mut self, v4: Option<Ipv4Addr>, link_local: Option<Ipv6Addr>, turn: &mut Turn<'_>) {
        if turn.now < self.next_moment() {
            return;
        }
        let records = self.take_due(turn);
        if !records.is_empty() {
            self.reported = turn.now;
        }
        let records4 = records.iter().filter_map(|(group, record)| match group {
            IpAddr::V4(group) => Some((*group, *record)),
            IpAddr::V6(_) => None,
        });
        let records6 = records.iter().filter_map(|(group, record)| match group {
            IpAddr::V6(group) => Some((*group, *record)),
            IpAddr::V4(_) => None,
        });
        let [old4, old6] = self.old_until.map(|until| turn.now < until);
        igmp::report(self.mac, v4, old4, &records4.collect::<Vec<_>>(), turn);
        mld::report(self.mac, link_local, old6, &records6.collect::<Vec<_>>(), turn);
    }

    /// What is to be reported now.
    fn take_due(&mut self, turn: &mut Turn<'_>) -> Vec<(IpAddr, Record)> {
        let mut records = Vec::new();
        let again = turn.now + turn.random_below(GROUP_REPORT_PAUSE);
        for member in &mut self.members {
            if member.due <= turn.now {
                records.push((member.group, member.record()));
                member.asked = false;
                member.reports = member.reports.saturating_sub(1);
                member.due = if member.reports > 0 { again } else { Instant::FOREVER };
            }
        }
        self.members.retain(|member| member.joins > 0 || member.reports > 0);
        records.retain(|(group, _)| is_reported(*group));
        records
    }

    /// When to call [`poll`](Self::poll) next.
    pub(crate) fn next_moment(&self) -> Instant {
        self.members.iter().map(|member| member.due).min().unwrap_or(Instant::FOREVER)
    }
}

/// All hosts listen to all hosts, and groups within a host concern nobody else (RFC 3376, 6; RFC 3810, 6).
fn is_reported(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group != ALL_SYSTEMS,
        IpAddr::V6(group) => group != ALL_NODES && group.octets()[1] & 0x0f > 1,
    }
}
