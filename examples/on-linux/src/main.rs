//! `on-linux tap0 10.9.0.2/24`: the appliance as a process, with an address of its own beside the kernel's.
//!
//! Somebody who may do so makes the interface first, and says who may open it:
//!
//! ```text
//! ip tuntap add tap0 mode tap user $USER
//! ip address add 10.9.0.1/24 dev tap0
//! ip link set tap0 up
//! ```
#![forbid(unsafe_code)]

mod tap;

use anyhow::{Context, Result, anyhow, bail};
use std::env;
use tap::Tap;
use unikernel_net::{Config, Ipv4Cidr};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [interface, address] = words.as_slice() else {
        bail!("usage: on-linux INTERFACE ADDRESS/LEN, such as `on-linux tap0 10.9.0.2/24`")
    };
    let address: Ipv4Cidr =
        address.parse().with_context(|| format!("`{address}` is no address with a prefix length"))?;
    // ANCHOR: run
    let (tap, mut events) = Tap::open(interface)?;
    let config = Config::fixed(address);
    println!("serving http://{}:{}/", address.address(), appliance::PORT);
    let serving = appliance::serve_on(Box::new(tap), config);
    let result = unikernel_rt::hosted::run("", move |left| events.wait(left), serving);
    // ANCHOR_END: run
    result.map_err(|error| anyhow!("{error}"))
}
