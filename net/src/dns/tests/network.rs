//! A network whose servers follow a script.

use super::messages::{parse_question, response};
use crate::dns::{Datagrams, Network, message::Question};
use core::{cell::RefCell, convert::Infallible, future::pending, net::SocketAddr};
use embedded_io_async::{ErrorType, Read, Write};
use std::{
    collections::VecDeque,
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use unikernel_rt::{
    entropy,
    sync::Notify,
    time::{Duration, Instant, sleep_until},
};

/// A question as a server got it.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) server: SocketAddr,
    pub(crate) port: u16,
    pub(crate) tcp: bool,
    pub(crate) edns: bool,
    pub(crate) id: u16,
    pub(crate) question: Question,
}

impl Asked {
    /// A response that is there at once.
    pub(crate) fn response(&self, flags: u16, sections: &str) -> Reply {
        Reply::now(self.server, response(self.id, flags, &self.question, sections))
    }
}

/// What a server sends: over TCP whole, without the length in front.
pub(crate) struct Reply {
    pub(crate) after: Duration,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn now(from: SocketAddr, bytes: Vec<u8>) -> Reply {
        Reply { after: Duration::ZERO, from, bytes }
    }

    pub(crate) fn after(self, millis: u64) -> Reply {
        Reply { after: Duration::from_millis(millis), ..self }
    }
}

/// A datagram or message on its way to a server.
pub(crate) struct Packet<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) server: SocketAddr,
    port: u16,
    tcp: bool,
}

type Script = dyn Fn(Packet<'_>) -> Vec<Reply>;

/// Servers that all follow one script, and what they were asked.
#[derive(Clone)]
pub(crate) struct Scripted {
    script: Rc<Script>,
    pub(crate) log: Rc<RefCell<Vec<Asked>>>,
}

impl Scripted {
    /// DNS servers.
    pub(crate) fn new(script: impl Fn(&Asked) -> Vec<Reply> + 'static) -> Scripted {
        let log = Rc::new(RefCell::new(Vec::new()));
        let ours = log.clone();
        let script = move |Packet { bytes, server, port, tcp }: Packet<'_>| {
            let (id, question, edns) = parse_question(bytes);
            let asked = Asked { at: Instant::now(), server, port, tcp, edns, id, question };
            ours.borrow_mut().push(asked.clone());
            script(&asked)
        };
        Scripted { script: Rc::new(script), log }
    }

    /// Servers of any sort.
    pub(crate) fn raw(script: impl Fn(Packet<'_>) -> Vec<Reply> + 'static) -> Scripted {
        Scripted { script: Rc::new(script), log: Rc::default() }
    }

    fn ask(&self, bytes: &[u8], server: SocketAddr, port: u16, tcp: bool) -> Vec<(Instant, Reply)> {
        let replies = (self.script)(Packet { bytes, server, port, tcp });
        replies.into_iter().map(|reply| (Instant::now() + reply.after, reply)).collect()
    }

    /// `milliseconds server name kind`, `t` in front over TCP and `-` behind without EDNS, for every question so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        let text = |asked: &Asked| {
            let (tcp, edns) = (if asked.tcp { "t " } else { "" }, if asked.edns { "" } else { " -" });
            let (millis, server) = (asked.at.as_micros() / 1000, asked.server.ip().to_string());
            let last = server.rsplit('.').next().unwrap();
            format!("{tcp}{millis} {last} {} {:?}{edns}", asked.question.name, asked.question.kind)
        };
        self.log.borrow_mut().drain(..).map(|asked| text(&asked)).collect()
    }
}

impl Network for Scripted {
    type Socket = ScriptedSocket;
    type Stream = ScriptedStream;

    fn udp(&self) -> Option<ScriptedSocket> {
        let port = 49_152 + (entropy::u64() % 16_384) as u16;
        Some(ScriptedSocket { network: self.clone(), port, replies: RefCell::default(), sent: Notify::new() })
    }

    /// Port 0 stands for a server that does not answer, and port 1 for one that refuses.
    async fn tcp(&self, peer: SocketAddr) -> Option<ScriptedStream> {
        match peer.port() {
            0 => pending().await,
            1 => None,
            _ => Some(ScriptedStream { network: self.clone(), peer, written: Vec::new(), parts: VecDeque::new() }),
        }
    }
}

pub(crate) struct ScriptedSocket {
    network: Scripted,
    port: u16,
    replies: RefCell<Vec<(Instant, Reply)>>,
    sent: Notify,
}

impl Datagrams for ScriptedSocket {
    async fn send_to(&self, data: &[u8], peer: SocketAddr) -> bool {
        let replies = self.network.ask(data, peer, self.port, false);
        self.replies.borrow_mut().extend(replies);
        self.replies.borrow_mut().sort_by_key(|(at, _)| *at);
        self.sent.notify_one();
        true
    }

    async fn receive_from(&self, buffer: &mut [u8]) -> (usize, SocketAddr) {
        while self.replies.borrow().is_empty() {
            self.sent.notified().await;
        }
        let at = self.replies.borrow()[0].0;
        sleep_until(at).await;
        let (_, Reply { from, bytes, .. }) = self.replies.borrow_mut().remove(0);
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        (len, from)
    }
}

/// Each reply is a part of the stream; after the last, it hangs. An empty one ends it.
pub(crate) struct ScriptedStream {
    network: Scripted,
    peer: SocketAddr,
    written: Vec<u8>,
    parts: VecDeque<(Instant, Reply)>,
}

impl ErrorType for ScriptedStream {
    type Error = Infallible;
}

impl Write for ScriptedStream {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // One byte at a time at first: a client must not count on more.
        let len = if self.written.len() < 4 { 1 } else { bytes.len() };
        self.written.extend(&bytes[..len]);
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        let (len, message) = self.written.split_first_chunk().unwrap();
        assert_eq!(usize::from(u16::from_be_bytes(*len)), message.len());
        self.parts.extend(self.network.ask(message, self.peer, 0, true));
        Ok(())
    }
}

impl Read for ScriptedStream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        let Some((at, _)) = self.parts.front() else { return pending().await };
        sleep_until(*at).await;
        let (_, reply) = &mut self.parts[0];
        let len = reply.bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&reply.bytes[..len]);
        reply.bytes.drain(..len);
        if reply.bytes.is_empty() && len > 0 {
            self.parts.pop_front();
        }
        Ok(len)
    }
}
