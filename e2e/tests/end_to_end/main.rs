//! Finished images, used from outside. Every test boots machines of its own.
#![forbid(unsafe_code)]

mod addresses;
mod appliance;
mod clones;
mod config;
mod debugger;
mod disks;
mod endings;
mod firecracker;
mod home;
mod hostile;
mod http;
mod image_files;
mod images;
mod inspect;
mod instances;
mod kills;
mod layout;
mod leaks;
mod logs;
mod lossy;
mod machines;
mod many;
mod metrics;
mod networks;
mod new;
mod peers;
mod proxy;
mod refusals;
mod reproducible;
mod selftest;
mod stops;
mod surface;
mod third_party;
mod visits;
mod volumes;
