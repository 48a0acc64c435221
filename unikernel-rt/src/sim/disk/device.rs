//! The machine's side of a simulated disk.

use super::{Fault, State, record::Event};
use crate::{
    device::{BlockCompletion, BlockDevice, BlockError, BlockInfo, BlockOp, BlockRequest},
    time::{Instant, Sleep, sleep_until},
};
use core::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use std::{boxed::Box, collections::BTreeMap, rc::Rc, vec::Vec};

pub(super) struct Device {
    state: Rc<RefCell<State>>,
    info: BlockInfo,
    /// Submitted, not yet told of.
    queued: Vec<BlockRequest>,
    /// By when they are done; the number keeps equal moments apart.
    under_way: BTreeMap<(Instant, u64), BlockRequest>,
    next_number: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Device {
    pub(super) fn new(state: Rc<RefCell<State>>) -> Device {
        let info = state.borrow().info.clone();
        let (queued, under_way) = (Vec::new(), BTreeMap::new());
        Device { state, info, queued, under_way, next_number: 0, sleep: None }
    }

    fn due(&self) -> Instant {
        let mut state = self.state.borrow_mut();
        let delay = state.behaviour.delay;
        let extra = if state.behaviour.reorders { state.random.below(2001) as u32 } else { 0 };
        Instant::now() + delay + delay * extra / 1000
    }
}

impl BlockDevice for Device {
    fn info(&self) -> &BlockInfo {
        &self.info
    }

    fn submit(&mut self, request: BlockRequest) -> Result<(), BlockRequest> {
        request.check(&self.info);
        if self.queued.len() + self.under_way.len() >= self.info.queue_len {
            return Err(request);
        }
        self.queued.push(request);
        Ok(())
    }

    fn kick(&mut self) {
        for request in core::mem::take(&mut self.queued) {
            let due = self.due();
            self.under_way.insert((due, self.next_number), request);
            self.next_number += 1;
        }
    }

    fn complete(&mut self) -> Option<BlockCompletion> {
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= Instant::now())?;
        let mut request = first.remove();
        let result = self.state.borrow_mut().execute(&mut request);
        Some(BlockCompletion { request, result })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(((due, _), _)) = self.under_way.first_key_value() else { return Poll::Pending };
        if *due <= Instant::now() {
            return Poll::Ready(());
        }
        let mut sleep = Box::pin(sleep_until(*due));
        let poll = sleep.as_mut().poll(cx);
        self.sleep = Some(sleep);
        poll
    }
}

impl State {
    fn execute(&mut self, request: &mut BlockRequest) -> Result<(), BlockError> {
        if self.is_gone {
            return Err(BlockError::Gone);
        }
        let range = request.offset..request.offset + request.len.max(1);
        if let Some(error) = take_fault(&mut self.faults, request.op, &range) {
            return Err(error);
        }
        match request.op {
            BlockOp::Read => {
                self.counts.reads += 1;
                self.counts.read_len += request.len;
                let mut at = request.offset;
                for buffer in &mut request.buffers {
                    self.image.read(at, buffer);
                    at += buffer.len() as u64;
                }
                Ok(())
            }
            _ if self.info.is_read_only => Err(BlockError::Unsupported),
            op => {
                self.change(op, request);
                Ok(())
            }
        }
    }

    fn change(&mut self, op: BlockOp, request: &BlockRequest) {
        let event = match op {
            BlockOp::Write => Event::Write {
                offset: request.offset,
                bytes: request.buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect(),
            },
            BlockOp::Flush => Event::Flush,
            _ => Event::Zero { offset: request.offset, len: request.len },
        };
        match &event {
            Event::Flush => self.counts.flushes += 1,
            _ => self.counts.writes += 1,
        }
        event.apply(&mut self.image);
        if let Some((_, events)) = &mut self.record {
            events.push(event);
        }
    }
}

fn take_fault(faults: &mut [Fault], op: BlockOp, range: &core::ops::Range<u64>) -> Option<BlockError> {
    let touches = |fault: &&mut Fault| {
        fault.op == op && fault.times > 0 && fault.range.start < range.end && range.start < fault.range.end
    };
    let fault = faults.iter_mut().find(touches)?;
    fault.times -= 1;
    Some(fault.error)
}
