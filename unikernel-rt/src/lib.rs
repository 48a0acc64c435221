//! The runtime of a unikernel: an async Rust crate that is a virtual machine.
//!
//! An app is one async function; its arguments are the machine's devices:
//!
//! ```
//! # #[allow(dead_code)] mod app {
//! use unikernel_rt::{log::info, time::{Duration, sleep}};
//!
//! async fn main() -> unikernel_rt::Result {
//!     info!("hello from a machine of one program");
//!     sleep(Duration::from_secs(1)).await;
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! With [`main`](macro@main) on it, that function is the whole image. Read on in this order:
//! [`Acquire`] (what `main` may ask for), [`task`], [`time`], [`sync`], [`log`], [`args`], [`config`],
//! [`entropy`], [`lifecycle`], [`device`], [`fiber`], [`metrics`]; and [`mod@sim`], with which all of it runs in a test on the workstation, in
//! virtual time; `hosted` is a process on an operating system, in real time.
//!
//! `unsafe` code lives in `platform/x86_64` only; the choice of platform is made in `platform/mod.rs`
//! by the compile target.
#![cfg_attr(target_os = "none", no_std)]
#![cfg_attr(not(target_os = "none"), forbid(unsafe_code))]

extern crate alloc;

pub mod args;
pub mod checksum;
pub mod config;
pub mod crash;
pub mod device;
pub mod entropy;
mod error;
mod executor;
pub mod fiber;
pub mod heap;
#[cfg(not(target_os = "none"))]
pub mod hosted;
pub mod lifecycle;
pub mod log;
mod machine;
pub mod metrics;
mod modules;
mod platform;
pub mod protection;
mod registry;
pub mod sync;
pub mod task;
pub mod time;

#[doc(hidden)]
pub mod entry;
#[cfg(not(target_os = "none"))]
pub mod sim;

/// What nobody may do; for the image of the self-tests.
#[cfg(all(target_os = "none", feature = "selftest"))]
#[doc(hidden)]
pub use platform::misuse;

/// Waiting for several futures at once, from `futures-util`.
pub mod future {
    pub use futures_util::{
        future::{Either, Fuse, FutureExt, join, join_all, select},
        join, pin_mut, select_biased,
    };
}

pub use args::Args;
pub use config::{Config, Secret};
pub use error::{Error, Result};
pub use machine::{Acquire, Machine};
pub use modules::Modules;
pub use task::{JoinHandle, spawn, spawn_named, spawn_supervised, spawn_supervised_named};
pub use unikernel_macros::{main, test};

/// Ends the machine: the host sees `code` as the exit status of the virtual machine's process where the
/// hypervisor offers a way to tell (0 is success), otherwise the machine powers off. It ends at once: nothing is finished,
/// and what only memory holds is lost; [`lifecycle::request_stop`] ends it in good order.
pub fn exit(code: u8) -> ! {
    platform::exit(code)
}
