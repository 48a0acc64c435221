//! The way to an address: which port, from which address, and over whom.

use super::Net;
use core::net::IpAddr;

pub(crate) struct Route {
    pub(crate) interface: usize,
    pub(crate) source: IpAddr,
    pub(crate) next_hop: IpAddr,
}

impl Net {
    /// The way to `destination`: of several ports, the first with the most exact route.
    pub(super) fn route(&self, destination: IpAddr) -> Option<Route> {
        let ways = self.interfaces.iter().enumerate().filter_map(|(index, interface)| {
            let (source, next_hop, exactness) = interface.route(destination)?;
            Some((exactness, Route { interface: index, source, next_hop }))
        });
        let mut best: Option<(u8, Route)> = None;
        for way in ways {
            if best.as_ref().is_none_or(|best| way.0 > best.0) {
                best = Some(way);
            }
        }
        best.map(|(_, route)| route)
    }

    /// The machine's address that the way to `destination` begins at.
    #[cfg(feature = "embedded-nal")]
    pub(crate) fn source_towards(&self, destination: IpAddr) -> Option<IpAddr> {
        self.route(destination).map(|route| route.source)
    }
}
