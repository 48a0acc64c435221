//! The appliance as an image, without the entry macro: it takes its devices from the machine, and decides itself what happens when one is missing.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

// ANCHOR: start
use unikernel_net::Config;
use unikernel_rt::{
    Acquire, Args, Machine, Result,
    log::{Display2Format, error},
    spawn_named,
};

unikernel_rt::start!(start);

fn start(machine: Machine) {
    spawn_named("appliance", async {
        // It returns without an error when the machine is being stopped, which then ends by itself.
        if let Err(error) = run(machine).await {
            error!("{}", Display2Format(&error));
            unikernel_rt::exit(1);
        }
    });
}

async fn run(mut machine: Machine) -> Result {
    let port = machine.take_net()?;
    let config = Config::from_boot_args(1)?;
    Args::acquire(&mut machine).await?.finish()?;
    appliance::serve_on(port, config).await
}
// ANCHOR_END: start
