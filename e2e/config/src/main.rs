//! Says what it was told, by whatever source, and ends; or crashes with its secret in its memory.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use unikernel_blockfs::ConfigPartition;
use unikernel_http::Metadata;
use unikernel_net::Stack;
use unikernel_rt::{Acquire, Config, Machine, Result, Secret, log::info};

#[unikernel_rt::main]
async fn main(_: ConfigPartition, Network(stack): Network, metadata: Metadata, config: Config) -> Result {
    if let Some(stack) = &stack {
        metadata.load(stack).await?;
    }
    let greeting: String = config.env("GREETING")?.unwrap_or_else(|| "none".into());
    let token: Secret = config.required("TOKEN")?;
    let number: u32 = config.get("number")?.unwrap_or(7);
    let crash = config.flag("crash")?;
    config.finish()?;
    info!("greeting <{}> number {} token {} of {} bytes", &*greeting, number, token, token.expose().len());
    assert!(!crash, "asked to crash");
    Ok(())
}

/// The network, if the machine has one.
struct Network(Option<Stack>);

impl Acquire for Network {
    async fn acquire(machine: &mut Machine) -> Result<Network> {
        let Ok(port) = machine.take_net() else { return Ok(Network(None)) };
        machine.add_net(port);
        Stack::acquire(machine).await.map(Some).map(Network)
    }
}
