//! Free clusters: looked for in the table from where the last were found, reserved until they are linked.

use super::{
    chain::{Chain, Run},
    layout::{FIRST, u32_at},
    mounted::Core,
    table::{END, Link, Window},
};
use crate::error::Cause;
use alloc::{rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

/// What marks the sector with the number of free clusters, and where its numbers are.
pub(super) const INFO_LEAD: u32 = 0x4161_5252;
pub(super) const INFO_MARK: u32 = 0x6141_7272;
pub(super) const INFO_MARK_AT: usize = 484;
const INFO_FREE_AT: u64 = 488;

/// What is known about free clusters.
pub(super) struct Space {
    /// Where to look next.
    next: Cell<u32>,
    /// How many there are, if they were counted.
    counted: Cell<Option<u32>>,
    /// How many the volume said there are, and what was taken and given since.
    said: Cell<Option<u32>>,
    /// Found, and not linked yet.
    reserved: RefCell<Vec<Run>>,
}

impl Space {
    /// From the volume's own note, if it makes sense.
    pub(super) fn new(note: Option<&[u8]>, clusters: u32) -> Space {
        let note = note.filter(|note| u32_at(note, 0) == INFO_LEAD && u32_at(note, INFO_MARK_AT) == INFO_MARK);
        let number = |at: u64| note.map(|note| u32_at(note, at as usize));
        let next = number(INFO_FREE_AT + 4).filter(|next| (FIRST..FIRST + clusters).contains(next));
        Space {
            next: Cell::new(next.unwrap_or(FIRST)),
            counted: Cell::new(None),
            said: Cell::new(number(INFO_FREE_AT).filter(|free| *free <= clusters)),
            reserved: RefCell::default(),
        }
    }

    fn count(&self, change: impl Fn(u32) -> u32) {
        self.counted.set(self.counted.get().map(&change));
        self.said.set(self.said.get().map(&change));
    }

    fn is_reserved(&self, cluster: u32) -> bool {
        self.reserved.borrow().iter().any(|run| (run.cluster..run.cluster + run.count).contains(&cluster))
    }
}

/// Clusters that nobody else gets. Dropped before they are linked, they are free again.
pub(super) struct Reservation {
    core: Rc<Core>,
    pub(super) runs: Vec<Run>,
}

impl Reservation {
    fn add(&mut self, cluster: u32) {
        let mut reserved = self.core.space.reserved.borrow_mut();
        match self.runs.last_mut() {
            Some(run) if run.cluster + run.count == cluster => {
                let mine = reserved.iter_mut().rev().find(|mine| *mine == run).expect("what we have is reserved");
                mine.count += 1;
                run.count += 1;
            }
            _ => {
                let run = Run { cluster, count: 1 };
                self.runs.push(run);
                reserved.push(run);
            }
        }
    }

    fn len(&self) -> u32 {
        self.runs.iter().map(|run| run.count).sum()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.core.space.reserved.borrow_mut().retain(|run| !self.runs.contains(run));
    }
}

impl Core {
    /// Reserves `count` clusters, after the cluster `tail` if that is possible.
    pub(super) async fn reserve(self: &Rc<Self>, tail: Option<u32>, count: u32) -> Result<Reservation, Cause> {
        let _turn = self.table_turn.acquire().await;
        let mut found = Reservation { core: self.clone(), runs: Vec::new() };
        if self.space.counted.get().is_some_and(|free| free < count) {
            return Err(Cause::Full);
        }
        let start = tail.map(|tail| tail + 1).filter(|start| self.layout.has(*start));
        let start = start.unwrap_or(self.space.next.get());
        for (from, to) in [(start, self.layout.end()), (FIRST, start)] {
            let mut at = from;
            while at < to && found.len() < count {
                let window = self.window(at).await?;
                at = self.search(&window, at..to, count, &mut found)?;
            }
        }
        match found.len() == count {
            true => Ok(found),
            false => Err(Cause::Full),
        }
    }

    /// Looks for free clusters in a part of the table. Returns where to go on.
    fn search(
        &self,
        window: &Window,
        range: core::ops::Range<u32>,
        count: u32,
        found: &mut Reservation,
    ) -> Result<u32, Cause> {
        let mut len = found.len();
        let mut at = range.start;
        while at < range.end
            && len < count
            && let Some(link) = window.link(at)
        {
            if link == Link::Free && !self.space.is_reserved(at) {
                found.add(at);
                len += 1;
                self.space.next.set(at);
            }
            at += 1;
        }
        match at == range.start {
            true => Err(Cause::damaged("the table of the FAT volume ends too early")),
            false => Ok(at),
        }
    }

    /// Links reserved clusters to the end of a chain whose last cluster is `tail`.
    pub(super) async fn link(
        &self,
        chain: &RefCell<Chain>,
        tail: Option<u32>,
        reservation: Reservation,
    ) -> Result<(), Cause> {
        let _turn = self.table_turn.acquire().await;
        // The last ones first: what a loss of power leaves behind is at most clusters without a file.
        let mut next = END;
        for (number, run) in reservation.runs.iter().enumerate().rev() {
            match tail.filter(|tail| number == 0 && tail + 1 == run.cluster) {
                Some(tail) => self.link_run(tail, run.count + 1, next).await?,
                None => self.link_run(run.cluster, run.count, next).await?,
            }
            next = run.cluster;
        }
        if let Some(tail) = tail
            && tail + 1 != next
        {
            self.link_run(tail, 1, next).await?;
        }
        let count = reservation.len();
        self.space.count(|free| free.saturating_sub(count));
        reservation.runs.iter().for_each(|run| chain.borrow_mut().grow(*run));
        Ok(())
    }

    /// Frees what follows the first `kept` clusters of a chain.
    pub(super) async fn cut(&self, chain: &RefCell<Chain>, kept: u32) -> Result<(), Cause> {
        let _turn = self.table_turn.acquire().await;
        let Some(cut) = self.locate(chain, kept).await? else { return Ok(()) };
        if let Some(last) = kept.checked_sub(1) {
            let last = self.locate(chain, last).await?.ok_or(Cause::damaged("the clusters of a file changed"))?;
            self.link_run(last.cluster, 1, END).await?;
        }
        chain.borrow_mut().cut(kept);
        self.free_from(cut.cluster).await
    }

    /// Frees a chain from `first` on. The caller has the table's turn.
    async fn free_from(&self, first: u32) -> Result<(), Cause> {
        let chain = RefCell::new(Chain::new(first));
        let mut index = 0;
        while let Some(run) = self.locate(&chain, index).await? {
            // Where it goes on must be known before its entries are gone.
            index += run.count;
            let goes_on = self.locate(&chain, index).await?.is_some();
            self.free_run(run.cluster, run.count).await?;
            self.space.count(|free| (free + run.count).min(self.layout.clusters));
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    /// How many clusters are free; they are counted when asked the first time.
    pub(super) async fn free(&self) -> Result<u32, Cause> {
        let _turn = self.table_turn.acquire().await;
        if let Some(free) = self.space.counted.get() {
            return Ok(free);
        }
        let free = self.count_free().await?;
        self.space.counted.set(Some(free));
        Ok(free)
    }

    /// Writes the volume's note about free clusters.
    pub(super) async fn write_info(&self) -> Result<(), Cause> {
        let Some(info) = self.layout.info else { return Ok(()) };
        let note = self.disk.read(info, 512).await?;
        if u32_at(&note, 0) != INFO_LEAD || u32_at(&note, INFO_MARK_AT) != INFO_MARK {
            return Ok(());
        }
        // All ones: not known.
        let free = self.space.counted.get().or(self.space.said.get()).unwrap_or(u32::MAX);
        let mut numbers = [0; 8];
        numbers[..4].copy_from_slice(&free.to_le_bytes());
        numbers[4..].copy_from_slice(&self.space.next.get().to_le_bytes());
        self.disk.write_bytes(info + INFO_FREE_AT, &numbers).await
    }
}
