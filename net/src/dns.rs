//! Names into addresses: a stub resolver (RFC 1035, RFC 1123 6.1.3) with a cache, over UDP and TCP.
//!
//! Start with [`Resolver`]. Below it, [`answer`] says what a message means, [`cache`] remembers, [`settings`] says whom
//! to ask for what; these neither wait nor ask for the time. [`exchange`] is one question to one server.
//!
//! What it trusts: the servers it was told of, not what else arrives. Every question goes out from a port and with an
//! id that nobody can guess (RFC 5452), and an answer counts only for the question it repeats.

mod answer;
mod cache;
mod error;
mod exchange;
pub mod limits;
mod message;
mod name;
mod network;
mod resolver;
mod settings;
#[cfg(test)]
pub(crate) mod tests;

pub use error::LookupError;
pub(crate) use network::{Datagrams, Network};
pub(crate) use resolver::{Families, Resolver};
pub(crate) use settings::Settings;
