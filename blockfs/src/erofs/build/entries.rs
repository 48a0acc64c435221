//! The content of a folder.

use super::{
    super::folder::{ENTRY_LEN, TYPE_FILE, TYPE_FOLDER, TYPE_LINK},
    Node, NodeKind,
};
use std::{vec, vec::Vec};

/// The content of folder `number`: blocks of entries, each with its names behind them. `inode_of` tells the numbers of
/// inodes.
pub(super) fn content(nodes: &[Node], number: usize, block_len: u64, inode_of: impl Fn(usize) -> u64) -> Vec<u8> {
    let names = names(nodes, number);
    let (mut bytes, mut rest) = (vec![], &names[..]);
    while !rest.is_empty() {
        let (block, after) = rest.split_at(fitting(rest, block_len as usize));
        let start = bytes.len();
        let mut name_at = block.len() * ENTRY_LEN;
        for (name, number) in block {
            bytes.extend_from_slice(&inode_of(*number).to_le_bytes());
            // Less than a block, and so 16 bits.
            bytes.extend_from_slice(&(name_at as u16).to_le_bytes());
            bytes.extend_from_slice(&[type_of(&nodes[*number]), 0]);
            name_at += name.len();
        }
        block.iter().for_each(|(name, _)| bytes.extend_from_slice(name.as_bytes()));
        if !after.is_empty() {
            bytes.resize(start + block_len as usize, 0);
        }
        rest = after;
    }
    bytes
}

/// Names with the nodes they lead to, sorted by their bytes: so Linux searches them.
fn names(nodes: &[Node], number: usize) -> Vec<(&str, usize)> {
    let NodeKind::Folder { around, entries } = &nodes[number].kind else { return vec![] };
    let mut names: Vec<_> = entries.iter().map(|(name, number)| (name.as_str(), *number)).collect();
    names.extend([(".", number), ("..", *around)]);
    names.sort_unstable();
    names
}

/// How many of the names fit a block.
fn fitting(names: &[(&str, usize)], block_len: usize) -> usize {
    let mut used = 0;
    let fits = names.iter().take_while(|(name, _)| {
        used += ENTRY_LEN + name.len();
        used <= block_len
    });
    fits.count()
}

fn type_of(node: &Node) -> u8 {
    match node.kind {
        NodeKind::Folder { .. } => TYPE_FOLDER,
        NodeKind::File { .. } => TYPE_FILE,
        NodeKind::Link { .. } => TYPE_LINK,
    }
}
