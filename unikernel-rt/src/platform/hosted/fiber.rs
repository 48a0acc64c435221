//! Fibers on the workstation: a thread each, which runs only while its resumer waits for it.

use std::{
    boxed::Box,
    panic::resume_unwind,
    string::String,
    sync::mpsc::{Receiver, Sender, channel},
    thread::{self, Builder, JoinHandle},
};

/// Tests are mostly debug builds, which need more stack than an image; and it takes memory only once it is used.
const STACK_LEN_MIN: usize = 1 << 20;

/// Why the resumer may go on.
enum Event {
    Suspended,
    /// The computation returned or panicked.
    Ended,
}

pub(crate) struct RawFiber {
    /// Without it the thread goes on, or ends if it has not begun.
    go: Option<Sender<()>>,
    events: Receiver<Event>,
    /// None once the computation has returned or panicked.
    thread: Option<JoinHandle<()>>,
}

pub(crate) struct RawSuspend {
    go: Receiver<()>,
    events: Sender<Event>,
}

/// Says that the thread is at its end, however it comes to that.
struct Ending(Sender<Event>);

impl Drop for Ending {
    fn drop(&mut self) {
        // After a cancellation nobody listens.
        let _ = self.0.send(Event::Ended);
    }
}

impl RawFiber {
    /// `body` starts at the first `resume`. `None` when there can be no such thread.
    pub(crate) fn new(stack_len: usize, body: Box<dyn FnOnce(RawSuspend) + Send>) -> Option<RawFiber> {
        let (go, their_go) = channel();
        let (their_events, events) = channel();
        let run = move || {
            if their_go.recv().is_ok() {
                let _ending = Ending(their_events.clone());
                body(RawSuspend { go: their_go, events: their_events });
            }
        };
        let builder = Builder::new().name(String::from("fiber")).stack_size(stack_len.max(STACK_LEN_MIN));
        let thread = builder.spawn(run).ok()?;
        Some(RawFiber { go: Some(go), events, thread: Some(thread) })
    }

    /// Lets the computation go on until it suspends or returns; true when it returned. Its panic goes on here.
    pub(crate) fn resume(&mut self) -> bool {
        assert!(self.thread.is_some(), "a computation that has returned or panicked cannot be resumed");
        // Whether the thread listens is told by what comes back.
        let _ = self.go.as_ref().map(|go| go.send(()));
        match self.events.recv() {
            Ok(Event::Suspended) => false,
            Ok(Event::Ended) | Err(_) => {
                self.join();
                true
            }
        }
    }

    fn join(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Err(panic) = thread.join()
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

impl Drop for RawFiber {
    /// Ends the thread.
    fn drop(&mut self) {
        self.go = None;
        self.join();
    }
}

impl RawSuspend {
    /// Lets the resumer go on; returns when it resumes or drops the fiber.
    pub(crate) fn suspend(&self) {
        // An error says that the fiber is being dropped; the caller sees that there is no input.
        let _ = self.events.send(Event::Suspended);
        let _ = self.go.recv();
    }
}
