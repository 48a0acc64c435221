//! The file allocation table: which cluster follows which.

use super::{
    layout::{FIRST, Layout, Width, u16_at, u32_at},
    mounted::Core,
};
use crate::error::Cause;
use bytes::Bytes;

/// So much of the table is asked for at once.
const WINDOW_LEN: u64 = 16 * 1024;
/// The same when entries are changed.
const CHANGE_LEN_MAX: u32 = 64 * 1024;
/// The end of a chain.
pub(super) const END: u32 = 0x0fff_ffff;
/// Of an entry with 32 bits the upper four are not ours.
const NUMBER_MASK: u32 = 0x0fff_ffff;
/// In the entry of cluster 1: the volume was left in order.
const IN_ORDER: u32 = 0x0800_0000;

/// What the table says about a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Next(u32),
    End,
    Free,
    Bad,
}

/// A part of the table: entries from `first` on.
pub(super) struct Window {
    first: u32,
    bytes: Bytes,
    width: Width,
}

impl Window {
    /// What the table says, if that is in this part.
    pub(super) fn link(&self, cluster: u32) -> Option<Link> {
        let at = cluster.checked_sub(self.first)? as usize;
        let entry = match self.width {
            Width::Bits12 => {
                let pair = u16_at(self.bytes.get(at * 3 / 2..at * 3 / 2 + 2)?, 0);
                u32::from(if at.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 })
            }
            Width::Bits16 => u16_at(self.bytes.get(at * 2..at * 2 + 2)?, 0).into(),
            Width::Bits32 => u32_at(self.bytes.get(at * 4..at * 4 + 4)?, 0) & NUMBER_MASK,
        };
        // Seven values from here on are the end, and the one below them is a bad cluster.
        let end = match self.width {
            Width::Bits12 => 0xff8,
            Width::Bits16 => 0xfff8,
            Width::Bits32 => 0x0fff_fff8,
        };
        Some(match entry {
            0 => Link::Free,
            entry if entry >= end => Link::End,
            entry if entry == end - 1 => Link::Bad,
            next => Link::Next(next),
        })
    }
}

impl Core {
    /// A part of the table that begins with the entry of `cluster` or before.
    pub(super) async fn window(&self, cluster: u32) -> Result<Window, Cause> {
        let Layout { width, table_len, .. } = self.layout;
        let table = self.layout.read_table();
        // The table of FAT12 is short, and its entries lie across sectors.
        let (first, start) = match width {
            Width::Bits12 => (0, 0),
            _ => (cluster, u64::from(cluster) * width.bits() / 8),
        };
        let len = (table_len - start).min(WINDOW_LEN) as usize;
        let bytes = match width {
            Width::Bits12 => self.disk.read(table, len).await?,
            _ => self.disk.read_some(table + start, len).await?,
        };
        Ok(Window { first, bytes, width })
    }

    /// Links `count` clusters from `first` on, each to the one after it, and the last to `last`: a cluster, or [`END`].
    pub(super) async fn link_run(&self, first: u32, count: u32, last: u32) -> Result<(), Cause> {
        let end = first + count;
        self.set_entries(first, count, |cluster| if cluster + 1 == end { last } else { cluster + 1 }).await
    }

    /// Marks clusters as free.
    pub(super) async fn free_run(&self, first: u32, count: u32) -> Result<(), Cause> {
        self.set_entries(first, count, |_| 0).await
    }

    /// Changes entries in all tables. The caller has the table's turn.
    async fn set_entries(&self, first: u32, count: u32, value: impl Fn(u32) -> u32) -> Result<(), Cause> {
        let end = first + count;
        let mut at = first;
        while at < end {
            let part = (end - at).min(CHANGE_LEN_MAX / 4);
            let start = u64::from(at) * 4;
            let mut entries = self.disk.read(self.layout.read_table() + start, part as usize * 4).await?.to_vec();
            for (number, entry) in entries.chunks_exact_mut(4).enumerate() {
                let kept = u32_at(entry, 0) & !NUMBER_MASK;
                entry.copy_from_slice(&(kept | value(at + number as u32)).to_le_bytes());
            }
            self.write_to_tables(start, &entries).await?;
            at += part;
        }
        Ok(())
    }

    /// Notes in the table whether the volume is in order.
    pub(super) async fn set_in_order(&self, is_in_order: bool) -> Result<(), Cause> {
        let entry = u32_at(&self.disk.read(self.layout.read_table() + 4, 4).await?, 0);
        let entry = if is_in_order { entry | IN_ORDER } else { entry & !IN_ORDER };
        self.write_to_tables(4, &entry.to_le_bytes()).await
    }

    async fn write_to_tables(&self, start: u64, bytes: &[u8]) -> Result<(), Cause> {
        for table in self.layout.written_tables() {
            self.disk.write_bytes(table + start, bytes).await?;
        }
        Ok(())
    }

    /// How many clusters are free.
    pub(super) async fn count_free(&self) -> Result<u32, Cause> {
        let (mut at, mut free) = (FIRST, 0);
        while at < self.layout.end() {
            let window = self.window(at).await?;
            let before = at;
            while at < self.layout.end()
                && let Some(link) = window.link(at)
            {
                free += u32::from(link == Link::Free);
                at += 1;
            }
            if at == before {
                return Err(Cause::damaged("the table of the FAT volume ends too early"));
            }
        }
        Ok(free)
    }
}
