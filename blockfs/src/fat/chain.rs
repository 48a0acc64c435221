//! The clusters of a file or folder, as far as somebody has asked for them.

use super::{
    mounted::Core,
    table::{Link, Window},
};
use crate::error::Cause;
use alloc::vec::Vec;
use core::cell::RefCell;

/// So many runs of a chain are kept. A file in more pieces is read from its start again when somebody goes back.
const RUNS_MAX: usize = 1024;

/// Clusters one after the other, on the disk and in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) cluster: u32,
    pub(super) count: u32,
}

/// A chain that is read from the table when needed.
pub(super) struct Chain {
    /// 0 when it has no cluster.
    first: u32,
    /// Each with its place in the file; there are no gaps between them.
    runs: Vec<(u32, Run)>,
    /// The last run ends the chain.
    is_whole: bool,
    /// Brent's way to find a loop: a cluster that must not come again, and how far the search goes before it is moved.
    turtle: u32,
    steps: u32,
    steps_max: u32,
    /// Counts its changes, so that what was read of the table before is not taken for what is there now.
    version: u32,
    /// Counts how often clusters were taken away.
    cuts: u32,
}

impl Chain {
    pub(super) fn new(first: u32) -> Chain {
        Chain { first, runs: Vec::new(), is_whole: first == 0, turtle: 0, steps: 0, steps_max: 1, version: 0, cuts: 0 }
    }

    pub(super) fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn cuts(&self) -> u32 {
        self.cuts
    }

    /// From the cluster at `index` of the file on, as far as they are one after the other, if that is known.
    pub(super) fn known(&self, index: u32) -> Option<Run> {
        let place = self.runs.partition_point(|(at, _)| *at <= index).checked_sub(1)?;
        let (at, run) = self.runs[place];
        let skipped = index - at;
        (skipped < run.count).then(|| Run { cluster: run.cluster + skipped, count: run.count - skipped })
    }

    /// The place of the last known cluster and its number.
    fn tail(&self) -> Option<(u32, u32)> {
        self.runs.last().map(|(at, run)| (at + run.count - 1, run.cluster + run.count - 1))
    }

    /// Adds clusters that the table has at the end now.
    pub(super) fn grow(&mut self, run: Run) {
        self.version = self.version.wrapping_add(1);
        // Otherwise they are found in the table.
        if self.is_whole {
            self.append(run);
        }
    }

    fn append(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some((_, last)) if last.cluster + last.count == run.cluster => last.count += run.count,
            Some((at, last)) => {
                let at = *at + last.count;
                self.push(at, run);
            }
            None => {
                self.first = run.cluster;
                self.push(0, run);
            }
        }
    }

    fn push(&mut self, at: u32, run: Run) {
        if self.runs.len() == RUNS_MAX {
            self.runs.drain(..RUNS_MAX / 2);
        }
        self.runs.push((at, run));
    }

    /// Forgets the clusters from `count` on.
    pub(super) fn cut(&mut self, count: u32) {
        let first = if count == 0 { 0 } else { self.first };
        let (version, cuts) = (self.version.wrapping_add(1), self.cuts.wrapping_add(1));
        *self = Chain { version, cuts, ..Chain::new(first) };
    }

    /// What of the table is needed to know more. A chain whose start was forgotten begins again.
    fn wanted(&mut self, index: u32) -> u32 {
        if self.runs.first().is_some_and(|(at, _)| index < *at) {
            *self = Chain { version: self.version, cuts: self.cuts, ..Chain::new(self.first) };
        }
        self.tail().map_or(self.first, |(_, cluster)| cluster)
    }

    /// Goes on from `from` through this part of the table.
    fn learn(&mut self, core: &Core, from: u32, window: &Window) -> Result<(), Cause> {
        if self.runs.is_empty() && !self.is_whole {
            if !core.layout.has(self.first) {
                return Err(OUTSIDE);
            }
            self.push(0, Run { cluster: self.first, count: 1 });
            self.turtle = self.first;
        }
        // Somebody else may have learned it meanwhile.
        while !self.is_whole
            && let Some((_, last)) = self.tail()
            && last >= from
            && let Some(link) = window.link(last)
        {
            match link {
                Link::End => self.is_whole = true,
                Link::Next(next) if core.layout.has(next) => self.follow(next)?,
                Link::Next(_) => return Err(OUTSIDE),
                Link::Free | Link::Bad => {
                    return Err(Cause::damaged("a file leads through clusters that are free or bad"));
                }
            }
        }
        Ok(())
    }

    fn follow(&mut self, next: u32) -> Result<(), Cause> {
        if next == self.turtle {
            return Err(Cause::damaged("the clusters of a file lead in a circle"));
        }
        self.steps += 1;
        if self.steps == self.steps_max {
            self.turtle = next;
            (self.steps, self.steps_max) = (0, self.steps_max.saturating_mul(2));
        }
        self.append(Run { cluster: next, count: 1 });
        Ok(())
    }
}

const OUTSIDE: Cause = Cause::damaged("a file leads to a cluster outside of the volume");

impl Core {
    /// From the cluster at `index` of the file on, as many as are one after the other; `None` when the chain is shorter.
    pub(super) async fn locate(&self, chain: &RefCell<Chain>, index: u32) -> Result<Option<Run>, Cause> {
        loop {
            let (wanted, version) = {
                let mut chain = chain.borrow_mut();
                if let Some(run) = chain.known(index) {
                    return Ok(Some(run));
                }
                let wanted = chain.wanted(index);
                if chain.is_whole {
                    return Ok(None);
                }
                (wanted, chain.version)
            };
            if !self.layout.has(wanted) {
                return Err(OUTSIDE);
            }
            let window = self.window(wanted).await?;
            let mut chain = chain.borrow_mut();
            if chain.version == version {
                chain.learn(self, wanted, &window)?;
            }
        }
    }

    /// How many clusters the chain has, and the last one's number; it is read to its end.
    pub(super) async fn end_of(&self, chain: &RefCell<Chain>) -> Result<(u32, Option<u32>), Cause> {
        self.locate(chain, u32::MAX).await?;
        let tail = chain.borrow().tail();
        Ok(tail.map_or((0, None), |(at, cluster)| (at + 1, Some(cluster))))
    }
}
