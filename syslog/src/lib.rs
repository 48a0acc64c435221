//! Sends a machine's log lines to a syslog collector: RFC 5424 over UDP (RFC 5426), TCP (RFC 6587) and, with the feature
//! `tls`, TLS (RFC 5425).
//!
//! ```
//! # unikernel_rt::sim::run("", async {
//! use unikernel_net::Stack;
//! use unikernel_syslog::Syslog;
//!
//! async fn main(stack: Stack, syslog: Syslog) -> unikernel_rt::Result {
//!     syslog.start(&stack)?;
//!     // …
//!     Ok(())
//! }
#![doc = include_str!("pair.md")]
//! # let socket = collector.udp(514)?;
//! # main(stack, Syslog::to("udp:10.0.0.2".parse()?).app_name("shop")).await?;
//! # let mut buffer = [0; 2000];
//! # let datagram = socket.recv_from(&mut buffer).await;
//! # assert!(String::from_utf8_lossy(&buffer[..datagram.len]).contains(" shop "));
//! # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
//! ```
//!
//! Without the boot argument `syslog=udp:HOST:PORT` that does nothing.
//!
//! | for | see |
//! |---|---|
//! | a collector by boot arguments, or set up by the program | [`Syslog`] |
//! | how a collector is written | [`Collector`], [`Transport`] |
//! | what was sent, and what was lost | [`Sink`], [`Stats`] |
//! | the format, without a clock or a network | [`Message`], [`Element`] |
//! | every bound, with its reason | [`limits`] |
//!
//! Log calls do not know of it. A task of its own reads the log, and keeps what waits for the collector in bounded memory;
//! beyond that the oldest lines are dropped, counted, and the count is logged once lines pass again. The image must be built
//! with the feature `text-log` of unikernel-rt.
//!
//! # What is missing
//!
//! Confirmed delivery: no, the protocols have none; what was written into a connection that then breaks may be lost ·
//! several collectors: start several · structured data of single log calls: not yet · frames without `text-log`: not yet.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod syslog;

mod collector;
pub mod limits;
mod message;

mod batch;
mod queue;
mod sender;
mod transport;

pub use collector::{Collector, Transport};
pub use message::{Element, Facility, Message, Severity};
pub use syslog::{Sink, Stats, Syslog, start};
