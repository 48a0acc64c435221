//! Passes requests to the device and completions to those who asked.

use super::{
    stats::{self, Stats},
    write::Writing,
};
use crate::error::Cause;
use alloc::{boxed::Box, collections::VecDeque, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use slab::Slab;
use unikernel_rt::{
    device::{BlockCompletion, BlockDevice, BlockError, BlockOp, BlockRequest, Buffer},
    task::wait_for,
};

/// The way to a device. Its task lives until this is dropped and the device is done with everything.
pub(super) struct Router(Rc<Lines>);

pub(super) struct Lines {
    /// Requests the device has not taken yet.
    backlog: RefCell<VecDeque<BlockRequest>>,
    /// Who waits for what, by tag.
    slots: RefCell<Slab<Slot>>,
    /// The task that drives the device.
    driver: RefCell<Option<Waker>>,
    is_closed: Cell<bool>,
    pub(super) stats: Stats,
}

enum Slot {
    Waiting(Option<Waker>),
    /// Nobody wants to know any more.
    Abandoned {
        #[expect(dead_code, reason = "dropped when the device is done")]
        writing: Option<Writing>,
    },
    Done(BlockCompletion),
}

impl Router {
    pub(super) fn start(device: Box<dyn BlockDevice>) -> Router {
        let lines = Rc::new(Lines {
            backlog: RefCell::default(),
            slots: RefCell::default(),
            driver: RefCell::default(),
            is_closed: Cell::new(false),
            stats: Stats::new(&device.info().serial),
        });
        stats::start(&lines);
        unikernel_rt::spawn_named("disk", drive(device, lines.clone()));
        Router(lines)
    }

    /// Queues a request; its completion is the result, with the buffers. `writing` lives until the device is done.
    pub(super) fn request(
        &self,
        op: BlockOp,
        offset: u64,
        len: u64,
        buffers: Vec<Buffer>,
        writing: Option<Writing>,
    ) -> Completion {
        let tag = self.0.slots.borrow_mut().insert(Slot::Waiting(None));
        self.0.stats.begin(tag);
        self.0.backlog.borrow_mut().push_back(BlockRequest { tag: tag as u64, op, offset, len, buffers });
        self.0.wake_driver();
        Completion { lines: self.0.clone(), tag: Some(tag), writing }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.0.is_closed.set(true);
        self.0.wake_driver();
    }
}

impl Lines {
    fn wake_driver(&self) {
        if let Some(waker) = &*self.driver.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Gives the device what it takes. All requests of a turn share one doorbell.
    fn submit(&self, device: &mut dyn BlockDevice) {
        let mut backlog = self.backlog.borrow_mut();
        let mut is_news = false;
        while let Some(request) = backlog.pop_front() {
            if let Err(request) = device.submit(request) {
                backlog.push_front(request);
                break;
            }
            is_news = true;
        }
        if is_news {
            device.kick();
        }
    }

    fn finish(&self, completion: BlockCompletion) {
        self.stats.end(&completion);
        let mut slots = self.slots.borrow_mut();
        let tag = completion.request.tag as usize;
        match slots.get_mut(tag) {
            Some(slot @ Slot::Waiting(_)) => {
                if let Slot::Waiting(Some(waker)) = core::mem::replace(slot, Slot::Done(completion)) {
                    waker.wake();
                }
            }
            Some(Slot::Abandoned { .. }) => {
                let slot = slots.remove(tag);
                // What is dropped with it may ask for more.
                drop(slots);
                drop(slot);
            }
            _ => unreachable!("a driver completes what it was given, once"),
        }
    }
}

async fn drive(mut device: Box<dyn BlockDevice>, lines: Rc<Lines>) {
    poll_fn(|cx| {
        if lines.driver.borrow().is_none() {
            *lines.driver.borrow_mut() = Some(cx.waker().clone());
        }
        loop {
            while let Some(completion) = device.complete() {
                lines.finish(completion);
            }
            lines.submit(&mut *device);
            if lines.is_closed.get() && lines.slots.borrow().is_empty() {
                return Poll::Ready(());
            }
            if device.poll_ready(cx).is_pending() {
                wait_for(if lines.slots.borrow().is_empty() { "a request" } else { "the disk" });
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// The future of a completion. Dropped early, the device keeps the buffers until it is done with them.
pub(super) struct Completion {
    lines: Rc<Lines>,
    tag: Option<usize>,
    writing: Option<Writing>,
}

impl Future for Completion {
    type Output = Result<Vec<Buffer>, Cause>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let tag = self.tag.expect("not polled after it was ready");
        let mut slots = self.lines.slots.borrow_mut();
        if let Slot::Waiting(waker) = &mut slots[tag] {
            *waker = Some(cx.waker().clone());
            wait_for("the disk");
            return Poll::Pending;
        }
        let Slot::Done(BlockCompletion { request, result }) = slots.remove(tag) else {
            unreachable!("abandoned only when dropped")
        };
        drop(slots);
        self.tag = None;
        self.writing = None;
        Poll::Ready(result.map(|()| request.buffers).map_err(Cause::from))
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        let Some(tag) = self.tag else { return };
        let mut slots = self.lines.slots.borrow_mut();
        match &mut slots[tag] {
            slot @ Slot::Waiting(_) => *slot = Slot::Abandoned { writing: self.writing.take() },
            _ => drop(slots.remove(tag)),
        }
    }
}

/// The error of a device that does not do what it said it does.
pub(super) const NOT_OFFERED: Cause = Cause::Disk(BlockError::Unsupported);
