//! Where everything goes, decided before the first byte is written.

use super::{super::superblock, Node, NodeKind, entries, invalid};
use std::{collections::BTreeMap, io, vec, vec::Vec};

/// Inodes are numbered in units of this length, from the start of the image on.
pub(super) const SLOT_LEN: u64 = 32;
pub(super) const COMPACT_LEN: u64 = 32;
pub(super) const EXTENDED_LEN: u64 = 64;

/// So many blocks with inodes are looked at for room: more would move inodes away from their neighbours.
const OPEN_MAX: usize = 8;

pub(super) struct Plan {
    pub(super) block_len: u64,
    /// The time of inodes that have none of their own: the most frequent one.
    pub(super) build_time: u64,
    pub(super) places: Vec<Place>,
    /// Blocks before those of content.
    pub(super) inode_blocks: u64,
    pub(super) blocks: u64,
}

/// Where an inode and its content are.
pub(super) struct Place {
    /// In bytes.
    pub(super) inode: u64,
    pub(super) inode_len: u64,
    pub(super) len: u64,
    /// Bytes at the end that stand behind the inode.
    pub(super) tail_len: u64,
    /// The first block of the others.
    pub(super) block: u64,
}

impl Place {
    pub(super) fn is_extended(&self) -> bool {
        self.inode_len == EXTENDED_LEN
    }

    /// Bytes in blocks of their own.
    pub(super) fn block_content_len(&self) -> u64 {
        self.len - self.tail_len
    }
}

impl Plan {
    pub(super) fn new(nodes: &[Node], block_len: u64) -> io::Result<Plan> {
        let build_time = most_frequent_time(nodes);
        let mut rooms = Rooms::new(block_len);
        let mut places: Vec<_> = (0..nodes.len()).map(|number| place(nodes, number, build_time, &mut rooms)).collect();
        let mut blocks = rooms.blocks;
        for place in &mut places {
            place.block = blocks;
            blocks += place.block_content_len().div_ceil(block_len);
        }
        match u32::try_from(blocks) {
            Ok(_) => Ok(Plan { block_len, build_time, places, inode_blocks: rooms.blocks, blocks }),
            Err(_) => {
                Err(invalid(format_args!("the files take more than 2^32 blocks, which no image has; leave some out")))
            }
        }
    }

    /// The number by which folders know the inode of a node.
    pub(super) fn inode_of(&self, number: usize) -> u64 {
        self.places[number].inode / SLOT_LEN
    }
}

fn most_frequent_time(nodes: &[Node]) -> u64 {
    let mut counts = BTreeMap::new();
    nodes.iter().for_each(|node| *counts.entry(node.attributes.modified).or_insert(0) += 1);
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(0, |(time, _)| time)
}

fn place(nodes: &[Node], number: usize, build_time: u64, rooms: &mut Rooms) -> Place {
    let node = &nodes[number];
    let len = match &node.kind {
        NodeKind::Folder { .. } => entries::content(nodes, number, rooms.block_len, |_| 0).len() as u64,
        NodeKind::File { len, .. } => *len,
        NodeKind::Link { target } => target.len() as u64,
    };
    let is_compact =
        node.attributes.modified == build_time && u32::try_from(len).is_ok() && u16::try_from(node.links).is_ok();
    let inode_len = if is_compact { COMPACT_LEN } else { EXTENDED_LEN };
    let tail_len = match len % rooms.block_len {
        tail_len if inode_len + tail_len <= rooms.block_len => tail_len,
        _ => 0,
    };
    let inode = rooms.take((inode_len + tail_len).next_multiple_of(SLOT_LEN));
    Place { inode, inode_len, len, tail_len, block: 0 }
}

/// Blocks for inodes. An inode and what stands behind it are in one block.
struct Rooms {
    block_len: u64,
    /// Where there is room, and how much.
    open: Vec<(u64, u64)>,
    blocks: u64,
}

impl Rooms {
    /// Room behind the superblock's block. The root takes the first: the superblock has 16 bits for its number.
    fn new(block_len: u64) -> Rooms {
        let blocks = (superblock::OFFSET + superblock::LEN as u64).div_ceil(block_len);
        Rooms { block_len, open: vec![], blocks }
    }

    fn take(&mut self, len: u64) -> u64 {
        let number = match self.open.iter().position(|(_, room)| *room >= len) {
            Some(number) => number,
            None => self.open_block(),
        };
        let (at, room) = &mut self.open[number];
        let place = *at;
        (*at, *room) = (*at + len, *room - len);
        if *room == 0 {
            self.open.remove(number);
        }
        place
    }

    fn open_block(&mut self) -> usize {
        if self.open.len() == OPEN_MAX {
            let fullest = (0..OPEN_MAX).min_by_key(|number| self.open[*number].1).unwrap_or(0);
            self.open.remove(fullest);
        }
        self.open.push((self.blocks * self.block_len, self.block_len));
        self.blocks += 1;
        self.open.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_share_blocks() {
        let mut rooms = Rooms::new(4096);
        let taken: Vec<u64> = [4064, 64, 32, 4096, 4000, 96].iter().map(|len| rooms.take(*len)).collect();
        assert_eq!(taken, [4096, 8192, 8160, 12288, 8256, 16384]);
    }

    #[test]
    fn the_time_of_most() {
        let nodes = |times: &[u64]| -> Vec<Node> {
            let attributes = |time: &u64| super::super::Attributes::file(*time);
            let kind = || NodeKind::Link { target: "x".into() };
            times.iter().map(|time| Node { attributes: attributes(time), links: 1, kind: kind() }).collect()
        };
        assert_eq!(most_frequent_time(&nodes(&[5, 7, 7, 1])), 7);
        assert_eq!(most_frequent_time(&nodes(&[5, 7])), 7);
    }
}
