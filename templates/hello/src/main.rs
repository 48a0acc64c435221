//! Says hello, and ends: the machine powers off with exit code 0. Boot argument: `name=NAME`.
#![cfg_attr(not(test), no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use unikernel_rt::{Args, Result, log::info};

use {{crate_name}}::greeting;

#[unikernel_rt::main]
async fn main(args: Args) -> Result {
    let name: Option<String> = args.get("name")?;
    args.finish()?;
    info!("{}", greeting(name.as_deref().unwrap_or("world")).as_str());
    Ok(())
}

#[cfg(test)]
mod tests;
