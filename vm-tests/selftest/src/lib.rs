//! Does what is forbidden: the boot argument `selftest=NAME` says what. The machine must die of it, and say so; where it does
//! not, this prints `survived`.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod deeds;

/// Does one of the deeds, and says so when it is still there.
///
/// # Errors
///
/// There is no such deed.
#[cfg(target_os = "none")]
pub async fn run(args: unikernel_rt::Args) -> unikernel_rt::Result {
    let deed = deeds::named(args.get("selftest")?)?;
    args.finish()?;
    deed().await;
    unikernel_rt::misuse::say("survived");
    Ok(())
}

/// The deeds need a machine.
#[cfg(not(target_os = "none"))]
pub async fn run(_: unikernel_rt::Args) -> unikernel_rt::Result {
    Err(unikernel_rt::Error::msg("selftest runs in a virtual machine"))
}
