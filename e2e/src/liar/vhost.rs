//! The conversation with QEMU: features, configuration, memory and the one queue's addresses.

use std::{
    fs::File,
    io::{IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    rc::Rc,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{read, write},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};

use super::ring::{Chain, Memory, Queue, Region};

/// Requests of QEMU.
mod request {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const GET_PROTOCOL_FEATURES: u32 = 15;
    pub const GET_QUEUE_NUM: u32 = 17;
    pub const GET_CONFIG: u32 = 24;
}

const VERSION_1: u64 = 1 << 32;
const INDIRECT_DESC: u64 = 1 << 28;
/// There are protocol features: that the back end has the configuration.
const HAS_PROTOCOL_FEATURES: u64 = 1 << 30;
const PROTOCOL_CONFIG: u64 = 1 << 9;
/// Set in a message: version 1, and an answer.
const ANSWER: u32 = 0b101;
/// Set in a message: an answer is wanted, whatever it is about.
const NEEDS_ANSWER: u32 = 0b1000;

const HEADER_LEN: usize = 12;
const FILES_MAX: usize = 8;

/// A back end of one queue.
pub struct BackEnd {
    stream: UnixStream,
    features: u64,
    config: Vec<u8>,
    queue: Queue,
    kick: Option<OwnedFd>,
    call: Option<OwnedFd>,
}

struct Message {
    request: u32,
    flags: u32,
    payload: Vec<u8>,
    files: Vec<OwnedFd>,
}

impl Message {
    fn word(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.payload[8 * index..8 * index + 8].try_into().expect("eight bytes"))
    }
}

impl BackEnd {
    pub fn new(stream: UnixStream, features: u64, config: Vec<u8>) -> BackEnd {
        let features = features | VERSION_1 | INDIRECT_DESC | HAS_PROTOCOL_FEATURES;
        BackEnd { stream, features, config, queue: Queue::default(), kick: None, call: None }
    }

    /// Serves QEMU until it ends; `answer` says what goes into the used ring.
    pub fn serve(mut self, answer: impl Fn(Vec<Chain>) -> Vec<(u32, u32)>) {
        while let Some(message) = self.wait(&answer) {
            let reply = self.reply(message);
            if reply.is_some_and(|reply| self.stream.write_all(&reply).is_err()) {
                return;
            }
        }
    }

    /// Answers requests of the driver until QEMU has a message. `None` when it has ended.
    fn wait(&mut self, answer: &impl Fn(Vec<Chain>) -> Vec<(u32, u32)>) -> Option<Message> {
        loop {
            let mut sources = vec![PollFd::new(&self.stream, PollFlags::IN)];
            sources.extend(self.kick.iter().map(|kick| PollFd::new(kick, PollFlags::IN)));
            poll(&mut sources, None).expect("both are open");
            let (message, kicked) =
                (!sources[0].revents().is_empty(), sources.len() > 1 && !sources[1].revents().is_empty());
            if kicked {
                self.kicked(answer);
            }
            if message {
                return self.receive();
            }
        }
    }

    fn kicked(&mut self, answer: &impl Fn(Vec<Chain>) -> Vec<(u32, u32)>) {
        if let Some(kick) = &self.kick {
            // Another thread may not have taken it, so there is something to take.
            read(kick, &mut [0; 8]).expect("it was kicked");
        }
        let chains = self.queue.take();
        if chains.is_empty() {
            return;
        }
        let entries = answer(chains);
        self.queue.put(&entries);
        if let Some(call) = self.call.as_ref().filter(|_| !entries.is_empty() && self.queue.wants_interrupts()) {
            write(call, &1_u64.to_ne_bytes()).expect("its counter is far from full");
        }
    }

    fn receive(&mut self) -> Option<Message> {
        let mut header = [0; HEADER_LEN];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(&self.stream, &mut [IoSliceMut::new(&mut header)], &mut control, RecvFlags::CMSG_CLOEXEC);
        if got.ok()?.bytes < HEADER_LEN {
            return None;
        }
        let files = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => files.collect(),
            _ => Vec::new(),
        });
        let files = files.collect();
        let [request, flags, len] =
            [0, 4, 8].map(|at| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")));
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).ok()?;
        Some(Message { request, flags, payload, files })
    }

    fn reply(&mut self, message: Message) -> Option<Vec<u8>> {
        let (request, flags) = (message.request, message.flags);
        let payload = self.execute(message).or_else(|| (flags & NEEDS_ANSWER != 0).then(|| vec![0; 8]))?;
        let header = [request, ANSWER, payload.len() as u32];
        Some(header.iter().flat_map(|word| word.to_le_bytes()).chain(payload).collect())
    }

    /// Does what QEMU asks; what it is told, where it asks a question.
    fn execute(&mut self, mut message: Message) -> Option<Vec<u8>> {
        match message.request {
            request::GET_FEATURES => return Some(self.features.to_le_bytes().into()),
            request::GET_PROTOCOL_FEATURES => return Some(PROTOCOL_CONFIG.to_le_bytes().into()),
            request::GET_QUEUE_NUM => return Some(1_u64.to_le_bytes().into()),
            request::GET_CONFIG => {
                let mut payload = message.payload;
                let room = &mut payload[HEADER_LEN..];
                room.iter_mut().zip(&self.config).for_each(|(to, from)| *to = *from);
                return Some(payload);
            }
            request::SET_MEM_TABLE => self.queue.memory = Rc::new(regions(message)),
            request::SET_VRING_NUM => self.queue.len = (message.word(0) >> 32) as u16,
            request::SET_VRING_BASE => self.queue.next_available = (message.word(0) >> 32) as u16,
            request::SET_VRING_ADDR => {
                let address = |index| self.queue.memory.guest_of(message.word(index));
                let (descriptors, used, available) = (address(1), address(2), address(3));
                (self.queue.descriptors, self.queue.used, self.queue.available) = (descriptors, used, available);
            }
            request::SET_VRING_KICK => self.kick = message.files.pop(),
            request::SET_VRING_CALL => self.call = message.files.pop(),
            request::GET_VRING_BASE => {
                self.kick = None;
                return Some((u64::from(self.queue.next_available) << 32).to_le_bytes().into());
            }
            _ => {}
        }
        None
    }
}

/// The ranges of a memory table: a count, then four words and a file each.
fn regions(message: Message) -> Memory {
    let words: Vec<u64> = (1..message.payload.len() / 8).map(|index| message.word(index)).collect();
    let regions = words.chunks_exact(4).zip(message.files).map(|(words, file)| Region {
        guest: words[0],
        len: words[1],
        user: words[2],
        offset: words[3],
        file: File::from(file),
    });
    Memory(regions.collect())
}
