//! One network port's addresses and neighbours: the machines joined.
//!
//! Received packets go to `on_…`, moments to [`Interface::poll`]. What changes for others comes from
//! [`Interface::take_event`].

mod build;
mod config;
#[cfg(test)]
mod tests;

use super::{
    Addresses, Ipv6Cidr, State6, Turn,
    conflict::{Conflict, Watch},
    dhcp4::{self, Dhcp4},
    dhcp6::{Dhcp6, Duid},
    groups::{Groups, JoinError, mld},
    limits::EVENTS_MAX,
    slaac::{Origin, Slaac},
};
use crate::neighbor::{
    Arp, Neighbors, Via,
    nd::{self, Message},
};
use alloc::{collections::VecDeque, vec::Vec};
pub(crate) use config::{Event, PortConfig, V4, V6};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use unikernel_rt::{device::Frame, time::Instant};

/// One port.
pub(crate) struct Interface {
    config: PortConfig,
    own: Addresses,
    neighbors: Neighbors,
    dhcp4: Option<Dhcp4>,
    watch: Option<Watch>,
    slaac: Option<Slaac>,
    dhcp6: Option<Dhcp6>,
    groups: Groups,
    events: VecDeque<Event>,
    /// When a machine other than the cache has something to do.
    due: Instant,
}

impl Interface {
    /// Starts to configure the port. IPv4 addresses by hand are there at once.
    pub(crate) fn new(config: PortConfig, turn: &mut Turn<'_>) -> Interface {
        let (mac, mtu, ids) = (config.mac, config.mtu, config.ids);
        let dhcp4 = (config.v4 == V4::Dhcp).then(|| Dhcp4::new(mac, config.hostname.clone()));
        let slaac = match config.v6 {
            V6::Off => None,
            V6::Automatic => Some(Slaac::new(mac, mtu, ids, true, turn)),
            V6::Static { address, .. } => {
                let mut slaac = Slaac::new(mac, mtu, ids, false, turn);
                slaac.add(address, Origin::Static, (Instant::FOREVER, Instant::FOREVER), turn);
                Some(slaac)
            }
        };
        let duid = config.uuid.map_or_else(|| Duid::from_mac(mac), Duid::from_uuid);
        let dhcp6 = (config.v6 == V6::Automatic).then(|| Dhcp6::new(mac, duid));
        let groups = Groups::new(mac);
        let mut interface = Interface {
            config,
            own: Addresses { groups: groups.list().collect(), ..Addresses::default() },
            neighbors: Neighbors::new(mac),
            dhcp4,
            watch: None,
            slaac,
            dhcp6,
            groups,
            events: VecDeque::new(),
            due: turn.now,
        };
        interface.rebuild(turn);
        interface
    }

    /// What is configured now.
    #[inline]
    pub(crate) fn addresses(&self) -> &Addresses {
        &self.own
    }

    /// The largest packet of a family.
    pub(crate) fn mtu(&self, v6: bool) -> u16 {
        let said = if v6 { self.own.mtu6 } else { self.own.mtu };
        said.unwrap_or(u16::MAX).min(self.config.mtu)
    }

    /// Completes the Ethernet header of an IP packet, 14 bytes in front of it, on its way to `destination`.
    #[inline]
    pub(crate) fn send(&mut self, destination: IpAddr, frame: Frame, turn: &mut Turn<'_>) -> Via {
        match self.own.next_hop(destination) {
            Some(next_hop) => self.neighbors.send_via(next_hop, frame, &self.own, turn),
            None => Via::Absent,
        }
    }

    /// The cache, with the addresses it needs.
    #[inline]
    pub(crate) fn neighbors(&mut self) -> (&mut Neighbors, &Addresses) {
        (&mut self.neighbors, &self.own)
    }

    /// Packets to `destination` get through: new data was acknowledged.
    #[inline]
    pub(crate) fn confirm(&mut self, destination: IpAddr, now: Instant) {
        if let Some(next_hop) = self.own.next_hop(destination) {
            self.neighbors.confirm(next_hop, now);
        }
    }

    /// What changed, oldest first.
    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes an Ethernet frame with ARP in it.
    pub(crate) fn on_arp(&mut self, frame: &[u8], turn: &mut Turn<'_>) {
        let Some(arp) = Arp::parse(frame, self.config.mac) else { return };
        match self.watch.as_mut().and_then(|watch| watch.on_arp(&arp, turn)) {
            None => self.neighbors.on_arp(&arp, &self.own, turn),
            Some(conflict) => self.on_conflict4(arp.sender.1, conflict, turn),
        }
        self.schedule();
    }

    fn on_conflict4(&mut self, address: Ipv4Addr, conflict: Conflict, turn: &mut Turn<'_>) {
        self.tell(Event::Conflict(address.into()));
        // An address by hand is kept: nobody knows another.
        if let (Conflict::Lost, Some(dhcp)) = (conflict, &mut self.dhcp4) {
            let event = dhcp.decline(turn);
            self.on_dhcp4_event(event, turn);
        }
    }

    /// Takes the payload of a UDP datagram from port 67 to port 68; to whatever IPv4 address, as we may have none yet.
    pub(crate) fn on_dhcp4(&mut self, payload: &[u8], turn: &mut Turn<'_>) {
        if let Some(dhcp) = &mut self.dhcp4 {
            let event = dhcp.on_message(payload, turn);
            self.on_dhcp4_event(event, turn);
            self.schedule();
        }
    }

    fn on_dhcp4_event(&mut self, event: Option<dhcp4::Event>, turn: &mut Turn<'_>) {
        match event {
            None => {}
            Some(dhcp4::Event::Bound) => self.rebuild(turn),
            Some(dhcp4::Event::Lost(why)) => {
                self.tell(Event::LeaseEnded(why));
                self.rebuild(turn);
            }
            Some(dhcp4::Event::Unicast(to, frame)) => {
                if let Via::Ready(frame) = self.send(to.into(), frame, turn) {
                    (turn.out)(frame);
                }
            }
        }
    }

    /// Takes an Ethernet frame with ICMPv6 in it, whatever its kind; what is not for us is ignored.
    pub(crate) fn on_icmp6(&mut self, frame: &[u8], turn: &mut Turn<'_>) {
        let Some(message) = Message::parse(frame, self.config.mac) else { return };
        match message.bytes[0] {
            nd::ROUTER_ADVERTISEMENT if message.is_local() => self.on_advertisement(&message, turn),
            nd::SOLICITATION | nd::ADVERTISEMENT if message.is_local() => self.on_discovery(&message, turn),
            mld::QUERY => self.groups.on_mld(&message, turn),
            _ => {}
        }
        self.schedule();
    }

    fn on_advertisement(&mut self, message: &Message<'_>, turn: &mut Turn<'_>) {
        let Some(slaac) = &mut self.slaac else { return };
        let changed = slaac.on_advertisement(message, &self.own, &mut self.neighbors, turn);
        if let Some(dhcp) = &mut self.dhcp6 {
            dhcp.set_mode(slaac.managed(), turn);
        }
        if changed {
            self.rebuild(turn);
        }
    }

    fn on_discovery(&mut self, message: &Message<'_>, turn: &mut Turn<'_>) {
        let Some(slaac) = &mut self.slaac else { return };
        if let Some((address, origin)) = slaac.on_discovery(message, turn) {
            self.on_conflict6(address, origin, turn);
        } else if message.bytes[0] == nd::SOLICITATION {
            self.neighbors.on_solicitation(message, &self.own, turn);
        } else {
            self.neighbors.on_advertisement(message, &self.own, turn);
        }
    }

    fn on_conflict6(&mut self, address: Ipv6Addr, origin: Origin, turn: &mut Turn<'_>) {
        self.tell(Event::Conflict(address.into()));
        let source = self.link_local();
        if let (Origin::Dhcp, Some(dhcp)) = (origin, &mut self.dhcp6) {
            dhcp.decline(address, source, turn);
            self.take_over_leased(turn);
        }
        self.rebuild(turn);
    }

    /// Takes the payload of a UDP datagram from port 547 to port 546.
    pub(crate) fn on_dhcp6(&mut self, payload: &[u8], turn: &mut Turn<'_>) {
        if self.dhcp6.as_mut().is_some_and(|dhcp| dhcp.on_message(payload, turn)) {
            self.take_over_leased(turn);
            self.rebuild(turn);
        }
        self.schedule();
    }

    fn take_over_leased(&mut self, turn: &mut Turn<'_>) {
        let (Some(dhcp), Some(slaac)) = (&self.dhcp6, &mut self.slaac) else { return };
        let kept: Vec<Ipv6Addr> = dhcp.addresses().iter().map(|leased| leased.address).collect();
        slaac.keep_leased(&kept);
        for leased in dhcp.addresses() {
            // What is on the link only routers say (RFC 8415, 18.2.10.1).
            if let Some(cidr) = Ipv6Cidr::new(leased.address, 128) {
                slaac.add(cidr, Origin::Dhcp, (leased.preferred, leased.valid), turn);
            }
        }
    }

    /// Our address on the link, once it can be used.
    fn link_local(&self) -> Option<Ipv6Addr> {
        let own = self.slaac.as_ref()?.link_local()?;
        (own.state != State6::Tentative).then_some(own.cidr.address())
    }

    /// Takes an Ethernet frame with IGMP in it.
    pub(crate) fn on_igmp(&mut self, frame: &[u8], turn: &mut Turn<'_>) {
        self.groups.on_igmp(frame, turn);
        self.schedule();
    }

    /// Takes packets to a group from now on. Every join counts.
    pub(crate) fn join(&mut self, group: IpAddr, turn: &mut Turn<'_>) -> Result<(), JoinError> {
        self.groups.join(group, turn.now)?;
        self.rebuild(turn);
        self.schedule();
        Ok(())
    }

    /// Takes one join back.
    pub(crate) fn leave(&mut self, group: IpAddr, turn: &mut Turn<'_>) {
        self.groups.leave(group, turn.now);
        self.rebuild(turn);
        self.schedule();
    }

    /// Does what is due.
    pub(crate) fn poll(&mut self, turn: &mut Turn<'_>) {
        if turn.now < self.next_moment() {
            return;
        }
        self.neighbors.poll(&self.own, turn);
        self.take_absent(turn);
        while let Some(event) = self.dhcp4.as_mut().and_then(|dhcp| dhcp.poll(turn)) {
            self.on_dhcp4_event(Some(event), turn);
        }
        if self.slaac.as_mut().is_some_and(|slaac| slaac.poll(turn)) {
            self.rebuild(turn);
        }
        let link_local = self.link_local();
        while self.dhcp6.as_mut().is_some_and(|dhcp| dhcp.poll(link_local, turn)) {
            self.take_over_leased(turn);
            self.rebuild(turn);
        }
        if let Some(watch) = &mut self.watch {
            watch.poll(turn);
        }
        self.groups.poll(self.own.v4.map(|own| own.address()), link_local, turn);
        self.schedule();
    }

    /// When to call [`poll`](Self::poll) next.
    #[inline]
    pub(crate) fn next_moment(&self) -> Instant {
        self.due.min(self.neighbors.next_moment())
    }

    fn schedule(&mut self) {
        let dhcp4 = self.dhcp4.as_ref().map(Dhcp4::next_moment);
        let watch = self.watch.as_ref().map(Watch::next_moment);
        let slaac = self.slaac.as_ref().map(Slaac::next_moment);
        let dhcp6 = self.dhcp6.as_ref().map(Dhcp6::next_moment);
        let groups = Some(self.groups.next_moment());
        self.due = [dhcp4, watch, slaac, dhcp6, groups].into_iter().flatten().min().unwrap_or(Instant::FOREVER);
    }

    fn take_absent(&mut self, turn: &mut Turn<'_>) {
        while let Some(neighbor) = self.neighbors.take_absent() {
            self.tell(Event::Absent(neighbor));
            if let (IpAddr::V6(neighbor), Some(slaac)) = (neighbor, &mut self.slaac)
                && slaac.on_absent(neighbor)
            {
                self.rebuild(turn);
            }
        }
    }

    /// An address that comes or goes is told in any case: connections hang on it.
    fn tell(&mut self, event: Event) {
        let must = |event: &Event| matches!(event, Event::Gained(_) | Event::Lost(_));
        if !must(&event) && self.events.contains(&event) {
            return;
        }
        if self.events.len() >= EVENTS_MAX {
            let oldest = self.events.iter().position(|event| !must(event)).unwrap_or(0);
            self.events.remove(oldest);
        }
        self.events.push_back(event);
    }
}
