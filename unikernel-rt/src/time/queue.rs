//! The timers of one core, in the order in which they are due: O(log n) to start and stop, O(1) to put off.
//!
//! A binary heap whose timers know their places, so that a timer that is stopped leaves at once and nothing piles up.

use super::Instant;
use alloc::vec::Vec;
use core::task::Waker;
use slab::Slab;

/// A timer's number in its queue.
pub(crate) type TimerId = usize;

/// The timers of one core.
#[derive(Default)]
pub(crate) struct TimerQueue {
    /// Each entry is due no later than the two at `2n + 1` and `2n + 2`.
    heap: Vec<Entry>,
    timers: Slab<Timer>,
    started: u64,
    fired: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    /// When to look at the timer. One that was put off is still queued under its old moment.
    moment: Instant,
    id: TimerId,
}

struct Timer {
    deadline: Instant,
    /// Where `heap` holds it; `None` once it fired.
    place: Option<usize>,
    waker: Option<Waker>,
}

impl TimerQueue {
    pub(crate) fn start(&mut self, deadline: Instant) -> TimerId {
        self.started += 1;
        let id = self.timers.insert(Timer { deadline, place: None, waker: None });
        self.enqueue(deadline, id);
        id
    }

    pub(crate) fn stop(&mut self, id: TimerId) {
        // On the workstation a timer may outlive its core: a test that panics drops its tasks on the way out.
        let Some(timer) = self.timers.get(id) else { return };
        if let Some(place) = timer.place {
            self.dequeue(place);
        }
        self.timers.remove(id);
    }

    /// Moves a timer. Later costs nothing now: the queue notices when the old moment comes.
    pub(crate) fn reset(&mut self, id: TimerId, deadline: Instant) {
        let timer = &mut self.timers[id];
        timer.deadline = deadline;
        if let Some(place) = timer.place {
            if self.heap[place].moment <= deadline {
                return;
            }
            self.dequeue(place);
        }
        self.enqueue(deadline, id);
    }

    /// True once the deadline has come; until then remembers whom to wake.
    pub(crate) fn poll(&mut self, id: TimerId, now: Instant, waker: &Waker) -> bool {
        let timer = &mut self.timers[id];
        if timer.deadline <= now {
            return true;
        }
        match &mut timer.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        false
    }

    /// Wakes what is due.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&Entry { moment, id }) = self.heap.first() {
            if moment > now {
                return;
            }
            self.dequeue(0);
            let timer = &mut self.timers[id];
            if timer.deadline > now {
                let deadline = timer.deadline;
                self.enqueue(deadline, id);
            } else if let Some(waker) = timer.waker.take() {
                self.fired += 1;
                waker.wake();
            }
        }
    }

    /// How many timers run, and how many were started and have fired so far.
    pub(crate) fn counts(&self) -> (usize, u64, u64) {
        (self.heap.len(), self.started, self.fired)
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.moment)
    }

    fn enqueue(&mut self, moment: Instant, id: TimerId) {
        self.heap.push(Entry { moment, id });
        self.rise(self.heap.len() - 1);
    }

    /// Takes the entry at `place` out; the last one takes its place and finds its own.
    fn dequeue(&mut self, place: usize) {
        let entry = self.heap.swap_remove(place);
        self.timers[entry.id].place = None;
        if place < self.heap.len() {
            let place = self.sink(place);
            self.rise(place);
        }
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].moment <= entry.moment {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize) -> usize {
        let entry = self.heap[place];
        loop {
            let left = 2 * place + 1;
            let Some(mut child) = self.heap.get(left).copied() else { break };
            let mut at = left;
            if let Some(right) = self.heap.get(left + 1)
                && right.moment < child.moment
            {
                (child, at) = (*right, left + 1);
            }
            if entry.moment <= child.moment {
                break;
            }
            self.put(place, child);
            place = at;
        }
        self.put(place, entry);
        place
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.timers[entry.id].place = Some(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Random;
    use std::collections::BTreeSet;

    /// Starts, stops and moves timers at random beside a sorted set that does the same.
    #[test]
    fn it_agrees_with_a_sorted_set() {
        for seed in 0..50 {
            let (mut random, mut queue, mut model) = (Random::new(seed), TimerQueue::default(), BTreeSet::new());
            for _ in 0..2000 {
                let moment = Instant::from_micros(random.u64() % 1000);
                let some = model.iter().nth(random.below(model.len().max(1))).copied();
                match (random.below(3), some) {
                    (0, Some((deadline, id))) => {
                        queue.stop(id);
                        model.remove(&(deadline, id));
                    }
                    (1, Some((deadline, id))) => {
                        queue.reset(id, moment);
                        model.remove(&(deadline, id));
                        model.insert((moment, id));
                    }
                    _ => assert!(model.insert((moment, queue.start(moment)))),
                }
                // Those put off may be looked at early, never late.
                assert!(queue.next_deadline() <= model.first().map(|(deadline, _)| *deadline) || model.is_empty());
            }
            while let Some(&(deadline, _)) = model.first() {
                queue.expire(deadline);
                for &(due, id) in model.iter().filter(|(due, _)| *due == deadline) {
                    assert!(queue.poll(id, due, Waker::noop()));
                }
                model.retain(|(due, _)| *due > deadline);
                let next = model.first().map(|(deadline, _)| *deadline);
                assert!(next.is_none() || queue.next_deadline() <= next);
            }
        }
    }
}
