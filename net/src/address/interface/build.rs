//! [`Addresses`] from what the machines know.

use super::{Event, Interface, PortConfig, V4, V6};
use crate::{
    address::{
        Addresses, Route, Turn,
        conflict::Watch,
        dhcp4::Dhcp4,
        table::{add_search, add_servers},
    },
    neighbor::nd,
};
use alloc::vec::Vec;
use core::net::IpAddr;
use unikernel_rt::time::Instant;

impl Interface {
    /// Writes [`Addresses`] anew from what the machines know, and says what differs.
    pub(super) fn rebuild(&mut self, turn: &mut Turn<'_>) {
        let old = core::mem::take(&mut self.own);
        self.own = self.build();
        let solicited = self.own.v6.iter().map(|own| nd::solicited_node(own.cidr.address()));
        self.groups.set_own(solicited.collect(), turn.now);
        self.own.groups = self.groups.list().collect();
        if self.own.v4 != old.v4 {
            self.on_new_v4(turn.now);
        }
        self.neighbors.set_gateways(self.own.gateways().collect());
        let (before, after) = (usable(&old), usable(&self.own));
        for address in before.iter().filter(|address| !after.contains(address)) {
            self.tell(Event::Lost(*address));
        }
        for address in after.iter().filter(|address| !before.contains(address)) {
            self.tell(Event::Gained(*address));
        }
        if self.own != old {
            self.tell(Event::Changed);
        }
    }

    fn build(&self) -> Addresses {
        let PortConfig { dns, search, ntp, .. } = self.config.clone();
        let mut own = Addresses { dns, search, ntp, ..Addresses::default() };
        self.build_v4(&mut own);
        if let V6::Static { address, gateway } = self.config.v6 {
            own.routes6.extend(Route::new(address.address().into(), address.prefix_len(), None));
            own.routes6.extend(gateway.map(|gateway| Route::default_via(gateway.into())));
        }
        if let Some(slaac) = &self.slaac {
            slaac.tell(&mut own);
        }
        if let Some(dhcp) = &self.dhcp6 {
            add_servers(&mut own.dns, dhcp.info().dns.iter().map(|server| (*server).into()));
            add_servers(&mut own.ntp, dhcp.info().ntp.iter().map(|server| (*server).into()));
            dhcp.info().search.iter().for_each(|name| add_search(&mut own.search, name));
        }
        own.sort_routes();
        own
    }

    fn build_v4(&self, own: &mut Addresses) {
        if let V4::Static { address, gateway } = self.config.v4 {
            own.v4 = Some(address);
            own.routes4.extend(Route::new(address.address().into(), address.prefix_len(), None));
            own.routes4.extend(gateway.map(|gateway| Route::default_via(gateway.into())));
        }
        let Some(lease) = self.dhcp4.as_ref().and_then(Dhcp4::lease) else { return };
        own.v4 = Some(lease.address);
        own.routes4.clone_from(&lease.routes);
        own.mtu = lease.mtu;
        add_servers(&mut own.dns, lease.dns.iter().map(|server| (*server).into()));
        add_servers(&mut own.ntp, lease.ntp.iter().map(|server| (*server).into()));
        lease.search.iter().for_each(|name| add_search(&mut own.search, name));
    }

    fn on_new_v4(&mut self, now: Instant) {
        self.neighbors.forget(true);
        self.watch = self.own.v4.map(|own| Watch::new(self.config.mac, own.address(), now));
    }
}

fn usable(own: &Addresses) -> Vec<IpAddr> {
    let v4 = own.v4.map(|own| IpAddr::V4(own.address()));
    v4.into_iter().chain(own.usable6().map(|own| own.cidr.address().into())).collect()
}
