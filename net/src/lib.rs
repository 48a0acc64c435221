//! The network of a unikernel: TCP and UDP over IPv4 and IPv6, over one or several Ethernet ports; names and the date.
//!
//! ```
//! # unikernel_rt::sim::run("", async {
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
#![doc = include_str!("pair.md")]
//! # unikernel_rt::spawn(main(server));
//! # let (mut stream, mut bytes) = (client.connect("10.0.0.2:7".parse()?).await?, [0; 5]);
//! # stream.write_all(b"hello").await?;
//! # stream.read_exact(&mut bytes).await?;
//! # assert_eq!(&bytes, b"hello");
//! # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
//! ```
//!
//! | for | see |
//! |---|---|
//! | the network of a machine, and two of them in a test | [`Stack`] |
//! | TCP: to accept, to read and write | [`Listener`], [`Stream`] |
//! | UDP | [`UdpSocket`] |
//! | names | [`Stack::lookup`], [`Stack::connect_host`] |
//! | addresses, DNS servers and boot arguments | [`Config`], [`Addressing`] |
//! | every bound, with its reason | [`limits`] |
//! | what happened, what is open, the frames themselves | [`Stats`], [`Stack::sockets`], [`Capture`] |
//! | crates for `embedded-nal-async` | the feature `embedded-nal`, module `nal` |
//!
//! # How it works
//!
//! One task owns the ports ([`Stack`] starts it). It reads the headers of a received frame once, looks up the flow in
//! a hash table and hands the segment to that flow's own TCP machine; nothing ever walks over all connections, so a
//! packet costs the same with one connection and with ten thousand. Handshakes wait in a bounded table and become
//! flows when they are done. What keeps addresses and neighbours up to date is put aside until the end of a turn.
//!
//! All machines are without input and output: moments, random numbers and packets are their arguments, and one shell
//! (`stack.rs`) asks for them. smoltcp's `wire` reads and writes ARP and DHCPv4; the rest is here.
//!
//! # What is there
//!
//! - TCP (RFC 9293): listen, connect, half-close, keep-alive, user timeout; window scaling (RFC 7323), selective
//!   acknowledgements both ways (RFC 2018, RFC 6675), CUBIC (RFC 9438), tail loss probes (RFC 8985), RFC 5961 against blind
//!   attacks, sequence numbers by RFC 6528, SYN cookies (RFC 4987); windows and send buffers that grow with use.
//! - UDP with broadcast and groups (IGMP, MLD); fragments put together; ICMP echo, unreachable, and path MTU.
//! - Static addresses, DHCPv4, router advertisements and SLAAC, DHCPv6, duplicate address detection; several ports
//!   with routes; ARP and neighbour discovery that strangers cannot overwrite.
//! - DNS with cache and search domains, happy eyeballs (RFC 8305), SNTP.
//! - Checksums, cutting and merging of segments by the device.
//!
//! # What is missing
//!
//! TCP timestamps, ECN, and a choice of the local address or port · fragments of what is sent · forwarding between ports ·
//! temporary IPv6 addresses · DNSSEC, mDNS · VLANs, jumbo frames beyond the device's MTU.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod capture;
mod config;
mod error;
pub mod limits;
mod listener;
mod sockets;
mod stack;
mod stats;
mod stream;
mod udp;

#[allow(dead_code, reason = "some of it is for its tests alone")]
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
mod metrics;
#[cfg(feature = "embedded-nal")]
pub mod nal;
mod names;
#[allow(dead_code, reason = "some of it is for its tests alone")]
mod neighbor;
mod net;
mod numbers;
mod packet;
mod race;
mod siphash;
mod sntp;
mod sources;
#[allow(dead_code, reason = "some of it is for its tests alone")]
mod tcp;
mod time_wait;
mod timers;

pub use capture::{Capture, Captured, Direction, Filter, Protocol};
pub use config::{Addressing, Addressing6, Config, Ipv4Cidr, Ipv6Cidr, ParseCidrError, PortConfig};
pub use dns::LookupError;
pub use embedded_io_async::{Read, Write};
pub use error::{ConnectError, Error, JoinError, ListenError, SendError};
pub use listener::Listener;
pub use sockets::{SocketInfo, SocketOwner, SocketPage, SocketState};
pub use stack::Stack;
pub use stats::{Drops, FlowCounts, Stats};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use udp::{Datagram, UdpSocket};
