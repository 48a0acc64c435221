//! The client against servers that follow a script, and lie. All in virtual time.
#![allow(missing_docs)]

mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod framing;
mod pool;
mod redirects;
mod requests;
mod script;
mod stack;
mod waiting;
