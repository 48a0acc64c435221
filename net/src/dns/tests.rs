//! The resolver against scripted servers.

mod answers;
mod fuzz;
mod lookups;
mod messages;
mod network;
mod trouble;
