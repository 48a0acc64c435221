//! The resolver against scripted servers.

mod answers;
mod fuzz;
mod lookups;
pub(crate) mod messages;
pub(crate) mod network;
mod trouble;
