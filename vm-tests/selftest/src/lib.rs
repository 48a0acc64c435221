//! Does what is forbidden: the boot argument `selftest=NAME` says what. The machine must die of it, and say so; where it does
//! not, this prints `survived`.
#![cfg_attr(target_os = "none", no_std)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
mod deeds;

#[cfg(target_os = "none")]
use unikernel_rt::misuse::fuzz::Effort;

/// Does one of the deeds, and says so when it is still there.
///
/// # Errors
///
/// There is no such deed.
#[cfg(target_os = "none")]
pub async fn run(args: unikernel_rt::Args) -> unikernel_rt::Result {
    let deed = deeds::named(args.get("selftest")?)?;
    let (seed, first, rounds) = (args.get("seed")?, args.get("first")?, args.get("rounds")?);
    args.finish()?;
    // For those who fuzz: `first=` is the round to begin with.
    let effort = Effort { seed: seed.unwrap_or(1), first: first.unwrap_or(0), rounds: rounds.unwrap_or(200) };
    deed(effort).await;
    unikernel_rt::misuse::say("survived");
    Ok(())
}

/// The deeds need a machine.
#[cfg(not(target_os = "none"))]
pub async fn run(_: unikernel_rt::Args) -> unikernel_rt::Result {
    Err(unikernel_rt::Error::msg("selftest runs in a virtual machine"))
}
