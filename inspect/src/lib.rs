//! Looking inside a unikernel that runs: its tasks, sockets, heap, frames and log levels.
//!
//! One argument of `main` and one line:
//!
//! ```
//! # unikernel_rt::sim::run("", async {
//! use unikernel_http::{Router, get, serve};
//! use unikernel_inspect::Inspect;
//! use unikernel_net::Stack;
//!
//! async fn main(stack: Stack, inspect: Inspect) -> unikernel_rt::Result {
//!     inspect.open(&stack)?;
//!     serve(stack.listen(8080)?, Router::new().route("/", get(async || "hello"))).await
//! }
//! # let (left, right) = unikernel_rt::sim::cable(unikernel_rt::sim::Faults::NONE);
//! # let near = Stack::new(Box::new(left), unikernel_net::Config::fixed("10.0.0.1/24".parse()?));
//! # let stack = Stack::new(Box::new(right), unikernel_net::Config::fixed("10.0.0.2/24".parse()?));
//! # unikernel_rt::spawn(main(stack, Inspect::new(9091, "e9a8c7d6b5a49382".parse()?)));
//! # let client = unikernel_http::client::Client::new(near);
//! # assert_eq!(client.get("http://10.0.0.2:8080/").send().await?.text().await?, "hello");
//! # assert_eq!(client.get("http://10.0.0.2:9091/ps").send().await?.status().code(), 401);
//! # Ok::<(), unikernel_rt::Error>(()) }).unwrap();
//! ```
//!
//! Without the boot arguments `inspect=PORT` and `inspect-key=KEY` that does nothing at all. With them, `cargo unikernel ps`,
//! `netstat`, `top`, `tcpdump`, `log-level` and `ping` show what goes on, from any machine that has the key.
//!
//! | for | see |
//! |---|---|
//! | the port, and a client that asks it | [`Inspect`] |
//! | the key | [`Key`], and [`challenge`] for how it is shown without being said |
//! | the answers | the paths below, and [`wire`] |
//!
//! # Who may look
//!
//! Whoever knows the [key](Key). It never crosses the network: the machine asks a [question](challenge) and the client
//! answers with a code that only the key can make for this one request. But what is asked and answered
//! can be read on the way, and changed; where that matters, use the feature `tls` and `Inspect::open_tls`. With an acceptor that
//! requires client certificates no key is needed.
//!
//! Whoever looks can see every frame that is not encrypted: the key is as valuable as the data that the machine serves.
//!
//! # What it costs
//!
//! Closed, one comparison for a frame and one for a log line. Open, it is a task among others: it has its turn when every other
//! has, however busy the machine is. Answers come in pages, and a page is a bounded amount of work. From then on the heap is
//! sampled, too: see [`watch_sites`](unikernel_rt::heap::watch_sites).
//!
//! | path | answer |
//! |---|---|
//! | `GET /ps?from=N&max=N` | [`wire::Tasks`] |
//! | `GET /netstat?from=N&max=N` | [`wire::Sockets`] |
//! | `GET /heap` | [`wire::Heap`] |
//! | `GET /ping` | [`wire::Pong`] |
//! | `GET /log-level`, `PUT /log-level?module=M&level=L` | [`wire::Levels`] |
//! | `GET /tcpdump?host=&port=&protocol=&snap=` | a pcap file without an end |
//! | `GET /captures/N` | [`wire::CaptureCounts`] of the capture that is number N |
//!
//! # What is missing
//!
//! TLS in `cargo unikernel`'s clients: use `curl` with the paths above.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod challenge;
mod key;
mod limits;
mod pcap;
mod server;
mod views;
pub mod wire;

pub use key::{Key, KeyError};
pub use server::Inspect;
