//! The way to littlefs: a queue of operations, the task that gives them to the fiber, and the disk for the fiber.

use super::storage::FiberStorage;
use crate::{Disk, error::Cause};
use alloc::{boxed::Box, collections::VecDeque, rc::Rc, vec::Vec};
use core::{
    any::Any,
    cell::{Cell, RefCell},
};
use unikernel_littlefs::{Error, Geometry};
use unikernel_rt::{
    fiber::{Fiber, Step, Suspend},
    spawn_named, spawn_supervised_named,
    sync::{Notify, OneshotSender, oneshot},
    task::yield_now,
};

/// littlefs on the fiber.
pub(super) type Littlefs = unikernel_littlefs::Littlefs<FiberStorage>;

/// An operation; it leaves its answer in the box.
type Command = Box<dyn FnOnce(&mut Littlefs) -> Answer + Send>;
type Answer = Box<dyn Any + Send>;

/// The stack. littlefs takes 2 KiB of it (`littlefs/tests/stack.rs`), a panic's report 16 KiB, and code that is not optimised
/// several times as much.
const STACK_LEN: usize = 64 * 1024;

/// What the fiber is resumed with.
pub(super) enum Input {
    /// Mount the volume.
    Start,
    /// Do this.
    Run(Command),
    /// The request is done. Memory that was lent comes back.
    Done(Result<Vec<u8>, Failed>),
}

/// What it suspends with.
pub(super) enum Output {
    /// It needs the disk.
    Wants(Request),
    /// The operation is done.
    Answer(Answer),
}

/// What the fiber asks the disk for.
pub(super) enum Request {
    /// Fill the memory from here.
    Read(u64, Vec<u8>),
    /// Write it there.
    Write(u64, Vec<u8>),
    /// Make all that was written safe.
    Flush,
    /// Let others run: it has computed for a while.
    Pause,
}

/// The disk failed; the bridge knows why.
#[derive(Debug)]
pub(super) struct Failed;

/// A handle to the fiber's task. When it is dropped the task does what is in the queue, and ends.
pub(super) struct Bridge(Rc<Lines>);

struct Lines {
    queue: RefCell<VecDeque<(Command, OneshotSender<Answer>)>>,
    /// Who waits for the operation under way.
    current: RefCell<Option<OneshotSender<Answer>>>,
    news: Notify,
    is_closed: Cell<bool>,
    /// littlefs panicked: it found what cannot be.
    is_dead: Cell<bool>,
    /// Why the disk failed, and whether it was in writing: then nothing is written any more.
    fault: RefCell<Option<Cause>>,
    is_broken: Cell<bool>,
}

const DEAD: Cause = Cause::damaged("littlefs found on it what it takes for impossible");

impl Bridge {
    /// Starts the fiber and mounts the volume. Also gives how many blocks it has.
    pub(super) async fn mount(disk: Disk, geometry: Geometry) -> Result<(Bridge, u32), Cause> {
        let lines = Rc::new(Lines {
            queue: RefCell::default(),
            current: RefCell::default(),
            news: Notify::of("a request"),
            is_closed: Cell::new(false),
            is_dead: Cell::new(false),
            fault: RefCell::default(),
            is_broken: Cell::new(false),
        });
        let (len, is_read_only) = (disk.len(), disk.is_read_only());
        let fiber = Fiber::new(STACK_LEN, move |suspend, _| live(suspend, &geometry, len, is_read_only));
        let fiber = fiber.map_err(|_| Cause::OutOfMemory)?;
        let (sender, receiver) = oneshot();
        *lines.current.borrow_mut() = Some(sender);
        // A panic of littlefs ends the volume, not the machine.
        let task = spawn_supervised_named("littlefs", drive(fiber, disk, lines.clone()));
        let watched = lines.clone();
        spawn_named("littlefs watch", async move {
            if matches!(task.await, Some(Err(_))) {
                watched.die();
            }
        });
        let bridge = Bridge(lines);
        let block_count = bridge.0.understand::<u32>(receiver.await)?;
        Ok((bridge, block_count))
    }

    /// Queues an operation and waits for its answer. It is done also when this future is dropped.
    pub(super) fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Littlefs) -> unikernel_littlefs::Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T, Cause>> + 'static {
        let (sender, receiver) = oneshot();
        let lines = self.0.clone();
        if !self.0.is_dead.get() {
            let command: Command = Box::new(move |volume| Box::new(operation(volume)));
            self.0.queue.borrow_mut().push_back((command, sender));
            self.0.news.notify_one();
        }
        async move { lines.understand(receiver.await) }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.0.is_closed.set(true);
        self.0.news.notify_one();
    }
}

impl Lines {
    fn understand<T: Send + 'static>(&self, answer: Option<Answer>) -> Result<T, Cause> {
        let Some(answer) = answer else { return Err(DEAD) };
        let answer = answer.downcast::<unikernel_littlefs::Result<T>>().expect("it is the answer to its command");
        answer.map_err(|error| self.cause_of(error))
    }

    async fn next(&self) -> Option<Command> {
        loop {
            if let Some((command, sender)) = self.queue.borrow_mut().pop_front() {
                *self.current.borrow_mut() = Some(sender);
                return Some(command);
            }
            if self.is_closed.get() {
                return None;
            }
            self.news.notified().await;
        }
    }

    fn answer(&self, answer: Answer) {
        let sender = self.current.borrow_mut().take();
        // Whoever asked may be gone.
        drop(sender.map(|sender| sender.send(answer)));
    }

    fn die(&self) {
        self.is_dead.set(true);
        drop(self.current.borrow_mut().take());
        let queue = core::mem::take(&mut *self.queue.borrow_mut());
        drop(queue);
    }

    fn note(&self, fault: &Cause, is_write: bool) {
        if !self.is_broken.get() {
            *self.fault.borrow_mut() = Some(fault.clone());
        }
        self.is_broken.set(self.is_broken.get() || is_write);
    }

    fn cause_of(&self, error: Error) -> Cause {
        match error {
            Error::Io => self.fault.borrow().clone().unwrap_or(DEAD),
            Error::Corrupt => Cause::damaged("littlefs finds contradictions on it"),
            Error::NotFound => Cause::NotFound,
            Error::Exists => Cause::Exists,
            Error::NotAFolder => Cause::NotAFolder,
            Error::IsAFolder => Cause::IsAFolder,
            Error::NotEmpty => Cause::NotEmpty,
            Error::Invalid => Cause::unsupported("it is a littlefs volume with other limits than ours"),
            Error::Full => Cause::Full,
            Error::NoMemory => Cause::OutOfMemory,
            Error::NameTooLong => Cause::InvalidName,
            Error::TooLarge => Cause::TooLarge,
            Error::Busy => Cause::Busy,
            Error::Other(_) => DEAD,
        }
    }
}

/// Gives one operation after the other to the fiber.
async fn drive(mut fiber: Fiber<Input, Output>, disk: Disk, lines: Rc<Lines>) {
    let mut input = Input::Start;
    loop {
        match fiber.resume(input) {
            Step::Suspended(Output::Wants(request)) => input = Input::Done(execute(request, &disk, &lines).await),
            Step::Suspended(Output::Answer(answer)) => {
                lines.answer(answer);
                match lines.next().await {
                    Some(command) => input = Input::Run(command),
                    None => return,
                }
            }
            Step::Returned(Output::Answer(answer)) => return lines.answer(answer),
            Step::Returned(Output::Wants(_)) => unreachable!("the fiber returns with an answer"),
        }
    }
}

async fn execute(request: Request, disk: &Disk, lines: &Lines) -> Result<Vec<u8>, Failed> {
    let is_write = !matches!(request, Request::Read(..));
    let result = match request {
        Request::Pause => {
            yield_now().await;
            Ok(Vec::new())
        }
        Request::Read(offset, mut bytes) => match disk.read(offset, bytes.len()).await {
            Ok(found) => {
                bytes.copy_from_slice(&found);
                Ok(bytes)
            }
            Err(cause) => Err(cause),
        },
        Request::Write(offset, bytes) => disk.write_bytes(offset, &bytes).await.map(|()| bytes),
        Request::Flush => disk.flush().await.map(|()| Vec::new()),
    };
    result.map_err(|cause| {
        lines.note(&cause, is_write);
        Failed
    })
}

/// The fiber: mounts the volume and does operations until it is dropped.
fn live(suspend: Suspend<Input, Output>, geometry: &Geometry, disk_len: u64, is_read_only: bool) -> Output {
    let suspend = Rc::new(suspend);
    let storage = FiberStorage::new(suspend.clone(), geometry.block_len, disk_len, is_read_only);
    let mounted = Littlefs::mount(storage, geometry).and_then(|volume| Ok((volume.block_count()?, volume)));
    let (block_count, mut volume) = match mounted {
        Ok(mounted) => mounted,
        Err(error) => return Output::Answer(Box::new(Err::<u32, _>(error))),
    };
    let mut answer: Answer = Box::new(Ok::<u32, Error>(block_count));
    while let Ok(Input::Run(command)) = suspend.suspend(Output::Answer(answer)) {
        volume.storage().begin();
        answer = command(&mut volume);
    }
    Output::Answer(Box::new(()))
}
