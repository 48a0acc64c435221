//! A client for one Redis: [`Redis::ask`] sends a command and waits for its reply.
//!
//! Commands of all tasks go over one connection, one after the other without waiting for replies (pipelining). Its own
//! task makes that connection, and makes it again when it breaks. While there is none, commands fail at once, with the
//! reason.

use crate::{
    address::Address,
    connection::{self, Broken},
    resp::{Reply, write_command},
};
use alloc::{collections::VecDeque, format, rc::Rc, string::String, vec::Vec};
use core::cell::RefCell;
use unikernel_net::{Stack, Stream};
use unikernel_rt::{
    entropy,
    log::{Display2Format as Text, info, warn},
    sync::{Notify, OneshotSender, oneshot},
    time::{Duration, Instant, sleep, timeout},
};

/// Commands without a reply yet; more fail at once. What comes faster than Redis answers must not fill the memory.
pub const COMMANDS_MAX: usize = 1024;

/// Redis answers `INCR` in microseconds; a second of silence means it or the way to it is stuck, and people wait.
pub const REPLY_TIME_MAX: Duration = Duration::from_secs(1);

/// A server on the same network answers at once; beyond this the next try begins.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// The first pause before connecting again, about the time a Redis with little data restarts in. It doubles with each
/// failure.
pub const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Pauses grow no further: a Redis that is back is found within this.
pub const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Why there is no reply, in a sentence. Whether the command was carried out is not known if it was already sent.
#[derive(Debug)]
pub struct Unavailable(pub String);

/// A handle; clones share the connection.
#[derive(Clone)]
pub struct Redis(Rc<Shared>);

/// What handles and the connection's task share.
pub(crate) struct Shared {
    state: RefCell<State>,
    /// There are commands to send.
    pub(crate) commands: Notify,
    /// A command waits, and before it none did.
    pub(crate) first: Notify,
}

struct State {
    /// Why there is no connection.
    away: Option<String>,
    /// Commands that were not sent yet, as bytes.
    unsent: Vec<u8>,
    /// Who waits for replies, in the order of the commands.
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    since: Instant,
    sender: OneshotSender<Result<Reply, Unavailable>>,
}

impl Redis {
    /// Starts the task that keeps the connection.
    pub fn start(stack: Stack, address: Address) -> Redis {
        let away = Some(format!("not connected to Redis at {address} yet"));
        let state = State { away, unsent: Vec::new(), waiting: VecDeque::new() };
        let shared = Rc::new(Shared { state: RefCell::new(state), commands: Notify::new(), first: Notify::new() });
        unikernel_rt::spawn(keep_connected(stack, address, shared.clone()));
        Redis(shared)
    }

    /// Sends a command and waits for its reply. A dropped future lets the command go on, and its reply is thrown away.
    ///
    /// # Errors
    ///
    /// There is no connection, it breaks, the reply takes longer than [`REPLY_TIME_MAX`], or [`COMMANDS_MAX`] commands
    /// wait already.
    pub async fn ask(&self, words: &[&[u8]]) -> Result<Reply, Unavailable> {
        let (sender, receiver) = oneshot();
        self.0.state.borrow_mut().queue(words, Waiting { since: Instant::now(), sender })?;
        self.0.commands.notify_one();
        if self.0.state.borrow().waiting.len() == 1 {
            self.0.first.notify_one();
        }
        receiver.await.unwrap_or_else(|| Err(Unavailable("the connection's task is gone".into())))
    }
}

impl State {
    fn queue(&mut self, words: &[&[u8]], waiting: Waiting) -> Result<(), Unavailable> {
        if let Some(reason) = &self.away {
            return Err(Unavailable(reason.clone()));
        }
        if self.waiting.len() >= COMMANDS_MAX {
            return Err(Unavailable(format!("{COMMANDS_MAX} commands wait for Redis already")));
        }
        write_command(&mut self.unsent, words);
        self.waiting.push_back(waiting);
        Ok(())
    }
}

impl Shared {
    pub(crate) fn take_unsent(&self) -> Vec<u8> {
        core::mem::take(&mut self.state.borrow_mut().unsent)
    }

    /// Gives a reply to the one who has waited longest. False when nobody waits.
    pub(crate) fn answer(&self, reply: Reply) -> bool {
        let waiting = self.state.borrow_mut().waiting.pop_front();
        // Who no longer wants it has dropped the receiver.
        waiting.map(|waiting| waiting.sender.send(Ok(reply))).is_some()
    }

    /// When the oldest command has waited too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.state.borrow().waiting.front().map(|oldest| oldest.since + REPLY_TIME_MAX)
    }

    fn is_connected(&self) {
        self.state.borrow_mut().away = None;
    }

    /// Fails what waits, and what comes until there is a connection again.
    fn is_away(&self, reason: String) {
        let mut state = self.state.borrow_mut();
        state.unsent = Vec::new();
        for waiting in state.waiting.drain(..) {
            let _ = waiting.sender.send(Err(Unavailable(reason.clone())));
        }
        state.away = Some(reason);
    }
}

/// Connects for ever; pauses after each failure, longer each time, until Redis has answered something.
async fn keep_connected(stack: Stack, address: Address, shared: Rc<Shared>) {
    let mut pause = PAUSE_MIN;
    loop {
        let broken = match connect(&stack, &address).await {
            Ok(stream) => {
                info!("connected to Redis at {}", Text(&address));
                shared.is_connected();
                connection::run(stream, &shared).await
            }
            Err(reason) => Broken { reason, answered: false },
        };
        if broken.answered {
            pause = PAUSE_MIN;
        }
        warn!("Redis at {}: {}", Text(&address), Text(&broken.reason));
        shared.is_away(format!("Redis at {address} is away: {}", broken.reason));
        sleep(spread(pause, entropy::u64())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn connect(stack: &Stack, address: &Address) -> Result<Stream, String> {
    match timeout(CONNECT_TIME_MAX, stack.connect_host(&address.host, address.port)).await {
        Ok(result) => result.map_err(|error| format!("{error}")),
        Err(_) => Err(format!("no connection within {CONNECT_TIME_MAX:?}")),
    }
}

/// Between half of it and all of it, so that many machines do not come back at the same moment.
pub fn spread(pause: Duration, random: u64) -> Duration {
    let half = pause.as_micros() as u64 / 2;
    Duration::from_micros(half + random % (half + 1))
}
