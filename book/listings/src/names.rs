//! Listings of the page "Names and addresses".

use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use unikernel_net::{Addressing, Addressing6, Config, LookupError, PortConfig, Stack};
use unikernel_rt::{
    Machine, Result,
    log::info,
    time::{Instant, unix_time},
};

/// The addresses of a name.
// ANCHOR: lookup
pub async fn addresses(stack: &Stack) -> Result<Vec<IpAddr>, LookupError> {
    stack.lookup("db.example.org").await
}
// ANCHOR_END: lookup

/// Says what addresses the machine has.
// ANCHOR: configured
pub async fn announce(stack: &Stack) {
    stack.configured().await;
    info!("{} addresses", stack.addresses().len() as u32);
}
// ANCHOR_END: configured

/// A stack whose configuration is in the program.
// ANCHOR: config
pub fn two_ports(machine: &mut Machine) -> Result<Stack> {
    let outside = PortConfig { v4: Addressing::Dhcp, v6: Addressing6::Auto };
    let inside =
        PortConfig { v4: Addressing::Static { address: "10.1.0.2/16".parse()?, gateway: None }, v6: Addressing6::Off };
    let config = Config {
        ports: vec![outside, inside],
        dns: vec![IpAddr::V4(Ipv4Addr::new(10, 1, 0, 53)), IpAddr::V6(Ipv6Addr::LOCALHOST)],
        ..Config::default()
    };
    let devices = vec![machine.take_net()?, machine.take_net()?];
    Ok(Stack::with_ports(devices, config))
}
// ANCHOR_END: config

/// The two clocks.
// ANCHOR: clocks
pub fn stamp(started: Instant) -> (u64, u64) {
    let date = unix_time().as_secs();
    let elapsed = (Instant::now() - started).as_millis() as u64;
    (date, elapsed)
}
// ANCHOR_END: clocks
