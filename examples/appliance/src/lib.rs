//! A status page over whatever network port it is given: a device of a virtual machine, a tap interface, or one end of a simulated cable.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{boxed::Box, format, string::String};
use unikernel_http::{Router, State, get, serve};
use unikernel_net::{Config, Stack};
use unikernel_rt::{Result, device::NetDevice, time::Instant};

/// Where it listens.
pub const PORT: u16 = 8080;

/// Serves on `port`, with addresses as `config` says, until it is told to stop.
///
/// # Errors
///
/// The server's.
// ANCHOR: serve
pub async fn serve_on(port: Box<dyn NetDevice>, config: Config) -> Result {
    let stack = Stack::new(port, config);
    let router = Router::new().route("/", get(status)).with_state(stack.clone());
    serve(stack.listen(PORT)?, router).await
}

async fn status(State(stack): State<Stack>) -> String {
    let received = stack.stats().frames_in;
    format!("up for {} s, {received} frames received\n", Instant::now().as_micros() / 1_000_000)
}
// ANCHOR_END: serve

#[cfg(test)]
mod tests;
