//! A machine that logs and a collector, on a simulated cable.
#![allow(dead_code, missing_docs)] // Every test file uses its own part of it.

pub mod rfc5424;

use rfc5424::{Parsed, split_frames};
use std::{cell::RefCell, net::Ipv4Addr, rc::Rc};
use unikernel_net::{Config, Ipv4Cidr, Listener, Read, Stack};
use unikernel_rt::{
    sim::{Faults, cable},
    task::JoinHandle,
    time::{Duration, Instant, sleep},
};
use unikernel_syslog::Syslog;

pub const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const COLLECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// The stacks of both, with nothing wrong between them.
pub fn stacks() -> (Stack, Stack) {
    let stack = |port, address| Stack::new(Box::new(port), Config::fixed(Ipv4Cidr::new(address, 24).unwrap()));
    let (left, right) = cable(Faults { delay: Duration::from_millis(1), ..Faults::NONE });
    (stack(left, MACHINE), stack(right, COLLECTOR))
}

/// A sink that is set up by hand.
pub fn to(transport: &str, port: u16) -> Syslog {
    Syslog::to(format!("{transport}:{COLLECTOR}:{port}").parse().unwrap()).app_name("shop")
}

/// What a collector has received so far.
#[derive(Clone, Default)]
pub struct Received(Rc<RefCell<Vec<Parsed>>>);

impl Received {
    pub fn push(&self, message: Parsed) {
        self.0.borrow_mut().push(message);
    }

    pub fn all(&self) -> Vec<Parsed> {
        self.0.borrow().clone()
    }

    /// The texts of messages of this kind.
    pub fn texts(&self, msg_id: &str) -> Vec<String> {
        let all = self.all().into_iter().filter(|message| message.msg_id.as_deref() == Some(msg_id));
        all.map(|message| message.text).collect()
    }

    /// Waits until a message with this in its text is there.
    pub async fn has(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(600);
        while !self.all().iter().any(|message| message.text.contains(text)) {
            assert!(Instant::now() < deadline, "`{text}` never came; these did: {:#?}", self.all());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Reads one connection after the other to its end. Aborting the task closes the connection and the port.
pub fn collect_streams(mut listener: Listener) -> (Received, JoinHandle<()>) {
    let received = Received::default();
    let into = received.clone();
    let task = unikernel_rt::spawn(async move {
        loop {
            read_frames(listener.accept().await, &into).await;
        }
    });
    (received, task)
}

/// Reads frames to the end of the stream. One that is cut off is not a message.
pub async fn read_frames(mut stream: impl Read, into: &Received) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 1000]);
    while let Ok(len @ 1..) = stream.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..len]);
        let (messages, used) = split_frames(&bytes).unwrap();
        messages.into_iter().for_each(|message| into.push(message));
        bytes.drain(..used);
    }
}

pub async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}
