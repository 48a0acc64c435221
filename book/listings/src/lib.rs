//! Every listing in the book. What stands between the anchors of a file is what a page shows.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod configuration;
pub mod connecting;
pub mod crashes;
pub mod disks;
pub mod first_app;
pub mod inspecting;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod names;
pub mod stopping;
pub mod tls;
