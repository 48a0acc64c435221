//! Fibers: computations with a stack of their own, for synchronous libraries that must wait.
//!
//! A file system crate whose block reads are plain functions cannot `await`. On a fiber it suspends where it needs a block;
//! the task that resumes it awaits the block, and the executor is never held up:
//!
//! ```
//! use unikernel_rt::fiber::{Cancelled, Fiber, Step, Suspend};
//!
//! // A synchronous library: it calls back for blocks, and callbacks may fail.
//! fn sum_of_two(mut read: impl FnMut(u32) -> Result<u64, Cancelled>) -> Result<u64, Cancelled> {
//!     Ok(read(7)? + read(8)?)
//! }
//!
//! /// What the computation suspends and returns with.
//! enum Out {
//!     Wants(u32),
//!     Sum(Result<u64, Cancelled>),
//! }
//!
//! async fn sum(read_block: impl AsyncFn(u32) -> u64) -> unikernel_rt::Result<u64> {
//!     let run = |suspend: Suspend<u64, Out>, _start| Out::Sum(sum_of_two(|block| suspend.suspend(Out::Wants(block))));
//!     let mut fiber = Fiber::new(32 * 1024, run)?;
//!     let mut input = 0;
//!     loop {
//!         match fiber.resume(input) {
//!             Step::Suspended(Out::Wants(block)) => input = read_block(block).await,
//!             Step::Returned(Out::Sum(sum)) => return Ok(sum?),
//!             _ => unreachable!("it suspends for blocks and returns a sum"),
//!         }
//!     }
//! }
//! # assert_eq!(unikernel_rt::sim::run("", sum(async |block| block.into())).unwrap(), 15);
//! ```
//!
//! The computation may compute, allocate, suspend, and resume fibers of its own. It is no task: it must not call what
//! belongs to the machine (clock, spawning, randomness, log, devices), nor suspend with a lock that others take. On the
//! workstation it is a thread, which runs only while its resumer waits for it, so tests stay repeatable; but that
//! thread is on no machine.

use crate::platform::{RawFiber, RawSuspend};
use alloc::{boxed::Box, sync::Arc};
use core::{cell::Cell, fmt, marker::PhantomData};
use spin::mutex::SpinMutex;

/// A computation on a stack of its own, which takes an `In` at every resumption and gives an `Out` at every suspension.
///
/// Dropping one that is suspended cancels it: the computation goes on once more, its `suspend` and all later ones return
/// [`Cancelled`] at once, and it has to return. So everything on its stack is dropped in order. One that was never resumed does
/// not run at all.
///
/// A panic of the computation is a panic of the task that resumes it. When that task is [supervised](crate::spawn_supervised)
/// the fiber never runs again: its stack is leaked like everything else the task held.
pub struct Fiber<In, Out> {
    raw: RawFiber,
    exchange: Arc<Exchange<In, Out>>,
    /// It stays on the core it was made on.
    not_send: PhantomData<*mut ()>,
}

/// What the two sides hand each other. They never run at once, so the locks are always free.
struct Exchange<In, Out> {
    input: SpinMutex<Option<In>>,
    output: SpinMutex<Option<Out>>,
}

/// How far [`Fiber::resume`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<Out> {
    /// The computation waits for the next `resume`.
    Suspended(Out),
    /// The computation is over, and its stack is free again.
    Returned(Out),
}

impl<In: Send + 'static, Out: Send + 'static> Fiber<In, Out> {
    /// Takes a stack of `stack_len` bytes: rounded up to whole pages, and never less than 16 KiB. `run` starts at the first
    /// `resume`, with its input.
    ///
    /// A computation that needs more stack than that ends the machine with a report; a debug build may where an
    /// optimised one does not. On the workstation the stack is at least 1 MiB.
    ///
    /// # Errors
    ///
    /// There is no memory for the stack.
    pub fn new(
        stack_len: usize,
        run: impl FnOnce(Suspend<In, Out>, In) -> Out + Send + 'static,
    ) -> Result<Fiber<In, Out>, OutOfMemory> {
        let exchange = Arc::new(Exchange { input: SpinMutex::new(None), output: SpinMutex::new(None) });
        let theirs = exchange.clone();
        let body = Box::new(move |raw| {
            let input = theirs.input.lock().take().expect("the first `resume` brings an input");
            let suspend = Suspend { raw, exchange: theirs.clone(), cancelled: Cell::new(false), not_send: PhantomData };
            let out = run(suspend, input);
            *theirs.output.lock() = Some(out);
        });
        let raw = RawFiber::new(stack_len, body).ok_or(OutOfMemory { stack_len })?;
        Ok(Fiber { raw, exchange, not_send: PhantomData })
    }

    /// Runs the computation with `input` until it suspends or returns.
    ///
    /// # Panics
    ///
    /// The computation panics, or it has returned or panicked before.
    pub fn resume(&mut self, input: In) -> Step<Out> {
        *self.exchange.input.lock() = Some(input);
        let returned = self.raw.resume();
        let out = self.exchange.output.lock().take().expect("the computation suspends and returns with an output");
        if returned { Step::Returned(out) } else { Step::Suspended(out) }
    }
}

/// The computation's way back to who resumed it. It cannot leave the computation.
pub struct Suspend<In, Out> {
    raw: RawSuspend,
    exchange: Arc<Exchange<In, Out>>,
    cancelled: Cell<bool>,
    not_send: PhantomData<*mut ()>,
}

impl<In, Out> Suspend<In, Out> {
    /// Makes [`Fiber::resume`] return `out`, and waits for the next one's input.
    ///
    /// # Errors
    ///
    /// The fiber was dropped. The computation should return soon: the code that dropped it waits.
    pub fn suspend(&self, out: Out) -> Result<In, Cancelled> {
        if self.cancelled.get() {
            return Err(Cancelled);
        }
        *self.exchange.output.lock() = Some(out);
        self.raw.suspend();
        let input = self.exchange.input.lock().take();
        // Dropping the fiber lets the computation go on with no input.
        self.cancelled.set(input.is_none());
        input.ok_or(Cancelled)
    }
}

/// The fiber was dropped, so nobody will resume the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fiber was dropped")
    }
}

impl core::error::Error for Cancelled {}

/// There is no memory for the stack of a fiber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// The length that was asked for.
    pub stack_len: usize,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.stack_len.div_ceil(1024);
        write!(f, "no memory for a fiber's stack of {kib} KiB; start the machine with more memory (-m)")
    }
}

impl core::error::Error for OutOfMemory {}
