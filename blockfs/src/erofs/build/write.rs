//! Writes what was planned.

use super::{
    super::{
        inode::{MODE_FILE, MODE_FOLDER, MODE_LINK},
        superblock,
    },
    Content, Node, NodeKind, ROOT, entries, host, invalid,
    plan::{Place, Plan},
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    vec,
    vec::Vec,
};

/// Files are copied in pieces of this length.
const PIECE_LEN: usize = 128 * 1024;

pub(super) fn write(nodes: &[Node], plan: &Plan, label: [u8; 16], image: &mut (impl Write + Seek)) -> io::Result<u64> {
    image.seek(SeekFrom::Start(0))?;
    let head = superblock_blocks(nodes, plan, label);
    image.write_all(&head)?;
    let block = vec![0; plan.block_len as usize];
    for _ in head.len() as u64 / plan.block_len..plan.inode_blocks {
        image.write_all(&block)?;
    }
    for (number, place) in plan.places.iter().enumerate() {
        // Content that is whole blocks comes in the order of the numbers, so the place is the one where writing ended.
        image.seek(SeekFrom::Start(place.block * plan.block_len))?;
        let tail = write_content(nodes, plan, number, image)?;
        image.seek(SeekFrom::Start(place.inode))?;
        image.write_all(&[inode(&nodes[number], number, place), tail].concat())?;
    }
    image.flush()?;
    Ok(plan.blocks * plan.block_len)
}

/// The blocks before the first inode.
fn superblock_blocks(nodes: &[Node], plan: &Plan, label: [u8; 16]) -> Vec<u8> {
    let len = (superblock::OFFSET + superblock::LEN as u64).next_multiple_of(plan.block_len);
    let mut blocks = vec![0; len as usize];
    let bytes = &mut blocks[superblock::OFFSET as usize..];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &superblock::MAGIC.to_le_bytes());
    put(8, &(superblock::HAS_CHECKSUM | superblock::HAS_TIMES).to_le_bytes());
    put(12, &[plan.block_len.ilog2() as u8]);
    // The root is in the first block of inodes.
    put(14, &(plan.inode_of(ROOT) as u16).to_le_bytes());
    put(16, &(nodes.len() as u64).to_le_bytes());
    put(24, &plan.build_time.to_le_bytes());
    put(36, &(plan.blocks as u32).to_le_bytes());
    put(64, &label);
    let sum = superblock::sum(bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    blocks
}

fn inode(node: &Node, number: usize, place: &Place) -> Vec<u8> {
    let mode = node.attributes.mode & 0o7777
        | match node.kind {
            NodeKind::Folder { .. } => MODE_FOLDER,
            NodeKind::File { .. } => MODE_FILE,
            NodeKind::Link { .. } => MODE_LINK,
        };
    let layout: u16 = if place.tail_len > 0 { 2 } else { 0 };
    let mut bytes = vec![0; place.inode_len as usize];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &(layout << 1 | u16::from(place.is_extended())).to_le_bytes());
    put(4, &mode.to_le_bytes());
    put(16, &(place.block as u32).to_le_bytes());
    put(20, &(number as u32 + 1).to_le_bytes());
    if place.is_extended() {
        put(8, &place.len.to_le_bytes());
        put(32, &node.attributes.modified.to_le_bytes());
        put(44, &node.links.to_le_bytes());
    } else {
        // The plan chose this form because they fit.
        put(6, &(node.links as u16).to_le_bytes());
        put(8, &(place.len as u32).to_le_bytes());
    }
    bytes
}

/// Writes the blocks of a node, and returns the bytes that stand behind its inode.
fn write_content(nodes: &[Node], plan: &Plan, number: usize, image: &mut impl Write) -> io::Result<Vec<u8>> {
    let place = &plan.places[number];
    match &nodes[number].kind {
        NodeKind::Folder { .. } => {
            let content = entries::content(nodes, number, plan.block_len, |number| plan.inode_of(number));
            copy(&mut &content[..], plan, place, image)
        }
        NodeKind::Link { target } => copy(&mut target.as_bytes(), plan, place, image),
        NodeKind::File { content: Content::Bytes(bytes), .. } => copy(&mut &bytes[..], plan, place, image),
        NodeKind::File { content: Content::Path(path), .. } => {
            let mut file = File::open(path).map_err(|error| host::named(path, &error))?;
            copy(&mut file, plan, place, image).map_err(|error| host::named(path, &error))
        }
    }
}

fn copy(content: &mut impl Read, plan: &Plan, place: &Place, image: &mut impl Write) -> io::Result<Vec<u8>> {
    let mut left = place.block_content_len();
    let mut piece = vec![0; left.min(PIECE_LEN as u64) as usize];
    while left > 0 {
        let part = &mut piece[..left.min(PIECE_LEN as u64) as usize];
        content.read_exact(part).map_err(changed)?;
        image.write_all(part)?;
        left -= part.len() as u64;
    }
    let padding = place.block_content_len().next_multiple_of(plan.block_len) - place.block_content_len();
    image.write_all(&vec![0; padding as usize])?;
    let mut tail = vec![0; place.tail_len as usize];
    content.read_exact(&mut tail).map_err(changed)?;
    match content.read(&mut [0])? {
        0 => Ok(tail),
        _ => Err(invalid(format_args!("the file became longer while the image was written; write it again"))),
    }
}

fn changed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            invalid(format_args!("the file became shorter while the image was written; write it again"))
        }
        _ => error,
    }
}
