//! Finished images, used from outside. Every test boots machines of its own.
#![forbid(unsafe_code)]

mod endings;
mod http;
mod machines;
mod many;
mod proxy;
mod refusals;
mod third_party;
mod visits;
