//! The addresses of one network port: where they come from, what is known around them, and which of them a packet
//! uses.
//!
//! Everything here is a state machine without a clock or a device: packets and a [`Turn`] go in, complete Ethernet
//! frames come out. Start with [`Interface`], which joins the machines of a port; [`Addresses`] is what is configured now.

pub(crate) mod interface;
pub(crate) mod table;
pub(crate) mod turn;

pub(crate) mod conflict;
pub(crate) mod dhcp4;
pub(crate) mod dhcp6;
pub(crate) mod groups;
pub(crate) mod slaac;

mod allowance;
pub(crate) mod cidr6;
mod domains;
pub(crate) mod limits;
pub(crate) mod packet;
mod select;
mod timed;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod testing;

pub use cidr6::Ipv6Cidr;
pub(crate) use interface::{Event, Interface, PortConfig, V4, V6};
pub(crate) use slaac::Ids;
pub(crate) use table::{Address6, Addresses, Route, State6};
pub(crate) use turn::Turn;
