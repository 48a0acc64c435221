//! When to look at a flow again: a binary heap with at most one entry per flow.
//!
//! A flow that is put off keeps its early entry; it is looked at then and queued again. So the usual case, a
//! retransmission timer that every answer moves on, touches the heap about once a second and not per packet.

use alloc::vec::Vec;
use unikernel_rt::time::Instant;

const NONE: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Timers {
    heap: Vec<(Instant, u32)>,
    /// By flow: where it is in `heap`.
    positions: Vec<u32>,
    /// How many entries were compared or moved, ever.
    pub(crate) steps: u64,
}

impl Timers {
    /// The earliest moment, if any.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Makes sure that `flow` comes up at `at` or before.
    pub(crate) fn set(&mut self, flow: u32, at: Instant) {
        let index = flow as usize;
        if index >= self.positions.len() {
            self.positions.resize(index + 1, NONE);
        }
        match self.positions[index] {
            NONE => {
                self.heap.push((at, flow));
                self.positions[index] = (self.heap.len() - 1) as u32;
                self.up(self.heap.len() - 1);
            }
            position => {
                let position = position as usize;
                if self.heap[position].0 > at {
                    self.heap[position].0 = at;
                    self.up(position);
                }
            }
        }
    }

    /// Takes a flow whose moment has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<u32> {
        let &(at, flow) = self.heap.first()?;
        if at > now {
            return None;
        }
        self.remove(flow);
        Some(flow)
    }

    /// Forgets `flow`.
    pub(crate) fn remove(&mut self, flow: u32) {
        let Some(&position) = self.positions.get(flow as usize) else { return };
        if position == NONE {
            return;
        }
        self.positions[flow as usize] = NONE;
        let position = position as usize;
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.positions[self.heap[position].1 as usize] = position as u32;
            self.up(position);
            self.down(position);
        }
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            self.steps += 1;
            let parent = (at - 1) / 2;
            if self.heap[parent].0 <= self.heap[at].0 {
                return;
            }
            self.swap(parent, at);
            at = parent;
        }
    }

    fn down(&mut self, mut at: usize) {
        loop {
            self.steps += 1;
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut least = at;
            for child in [left, right] {
                if child < self.heap.len() && self.heap[child].0 < self.heap[least].0 {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(least, at);
            at = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.positions[self.heap[a].1 as usize] = a as u32;
        self.positions[self.heap[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeMap, vec::Vec};
    use unikernel_rt::sim::Random;

    /// Against a model: the earliest moment asked for since the flow last came up.
    #[test]
    fn it_is_a_queue_of_earliest_moments() {
        let mut random = Random::new(7);
        let mut timers = Timers::default();
        let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
        let mut now = 0;
        for _ in 0..20_000 {
            let flow = random.below(50) as u32;
            match random.below(4) {
                0 => {
                    timers.remove(flow);
                    model.remove(&flow);
                }
                1 => {
                    now += random.below(20) as u64;
                    let at = Instant::from_micros(now);
                    let mut due: Vec<u32> = core::iter::from_fn(|| timers.pop(at)).collect();
                    due.sort();
                    let expected: Vec<u32> =
                        model.iter().filter(|(_, moment)| **moment <= at).map(|(flow, _)| *flow).collect();
                    assert_eq!(due, expected);
                    model.retain(|_, moment| *moment > at);
                }
                _ => {
                    let at = Instant::from_micros(now + random.below(100) as u64);
                    timers.set(flow, at);
                    let moment = model.entry(flow).or_insert(at);
                    *moment = at.min(*moment);
                }
            }
            assert_eq!(timers.next(), model.values().min().copied());
        }
    }
}
