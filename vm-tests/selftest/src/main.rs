//! Does what is forbidden: the boot argument `selftest=NAME` says what. The machine must die of it, and say so; where it does
//! not, this prints `survived`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod deeds;

/// Does one of the deeds, and says so when it is still there.
#[cfg(target_os = "none")]
#[unikernel_rt::main]
async fn main(args: unikernel_rt::Args) -> unikernel_rt::Result {
    let deed = deeds::named(args.get("selftest")?)?;
    args.finish()?;
    deed().await;
    unikernel_rt::misuse::say("survived");
    Ok(())
}

/// The host binary of a workspace that is built whole: the deeds need a machine.
#[cfg(not(target_os = "none"))]
fn main() {
    println!("selftest runs in a virtual machine: cargo run -p selftest --target x86_64-unknown-none -- selftest=none");
}
