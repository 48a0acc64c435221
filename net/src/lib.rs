//! The network of a unikernel: TCP over IPv4, over one Ethernet port.
//!
//! ```
//! # #[allow(dead_code)] mod app {
//! use embedded_io_async::{Read, Write};
//! use unikernel_net::Stack;
//!
//! async fn main(stack: Stack) -> unikernel_rt::Result {
//!     let mut listener = stack.listen(7)?;
//!     loop {
//!         let mut stream = listener.accept().await;
//!         unikernel_rt::spawn(async move {
//!             let mut bytes = [0; 1024];
//!             while let Ok(len @ 1..) = stream.read(&mut bytes).await {
//!                 if stream.write_all(&bytes[..len]).await.is_err() {
//!                     break;
//!                 }
//!             }
//!         });
//!     }
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! Start with [`Stack`], then [`Listener`] and [`Stream`]. [`limits`] holds every bound with its reason and
//! [`Stats`] what happened.
//!
//! How it works: one task owns the port ([`Stack`] starts it). It looks up the flow of a received frame in a
//! hash table and hands the frame to that flow's own TCP machine; nothing ever walks over all connections, so
//! a packet costs the same with one connection and with ten thousand. The machines are smoltcp's; every line
//! that names smoltcp is in `engine.rs` and `engine/`.
//!
//! There: TCP (RFC 9293: listen, connect, half-close, keep-alive, window scaling of the peer, delayed
//! acknowledgements, fast retransmit, Reno), IPv4 without fragments, ARP, ICMP echo, DHCPv4, checksum offload.
//! Missing: UDP, DNS, IPv6, fragments, SYN cookies, several ports in one machine, receive windows over 64 KiB.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod error;
pub mod limits;
mod listener;
mod stack;
mod stats;
mod stream;
mod udp;

#[allow(dead_code, unused_imports, reason = "parts are not used yet")]
mod address;
mod checksum;
mod complaints;
mod dns;
mod flow;
mod flow_map;
mod fragments;
mod half_open;
mod header;
mod interface;
mod link;
#[cfg(feature = "embedded-nal")]
pub mod nal;
mod names;
#[allow(dead_code, unused_imports, reason = "parts are not used yet")]
mod neighbor;
mod net;
mod numbers;
mod packet;
mod race;
mod siphash;
mod sntp;
mod sources;
#[allow(dead_code, unused, reason = "parts are not used yet")]
mod tcp;
mod time_wait;
mod timers;

pub use config::{Addressing, Addressing6, Config, Ipv4Cidr, Ipv6Cidr, ParseCidrError, PortConfig};
pub use dns::LookupError;
pub use embedded_io_async::{Read, Write};
pub use error::{ConnectError, Error, JoinError, ListenError, SendError};
pub use listener::Listener;
pub use stack::Stack;
pub use stats::{Drops, FlowCounts, Stats};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use udp::{Datagram, UdpSocket};
