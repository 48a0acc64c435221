//! The heap on the machine itself: every byte of its blocks, and what is left of it.
#![cfg_attr(target_os = "none", no_std, no_main)]
// On the host there is no machine to test, and the harness says so.
#![cfg_attr(not(target_os = "none"), allow(unused))]

extern crate alloc;

use alloc::{boxed::Box, collections::VecDeque, vec, vec::Vec};
use unikernel_rt::{entropy, heap, task::yield_now};

unikernel_rt::test_harness!();

/// A block that knows what is in it.
struct Block {
    bytes: Vec<u8>,
    seed: u8,
}

impl Block {
    fn new(len: usize, seed: u8) -> Block {
        let mut block = Block { bytes: Vec::with_capacity(len), seed };
        block.grow(len);
        block
    }

    fn grow(&mut self, len: usize) {
        self.bytes.reserve_exact(len - self.bytes.len());
        let start = self.bytes.len();
        self.bytes.extend((start..len).map(|at| byte(at, self.seed)));
    }

    fn shrink(&mut self, len: usize) {
        self.bytes.truncate(len);
        self.bytes.shrink_to_fit();
    }

    fn check(&self) {
        let wrong = self.bytes.iter().enumerate().position(|(at, found)| *found != byte(at, self.seed));
        assert_eq!(wrong, None, "a block of {} bytes was changed", self.bytes.len());
    }
}

fn byte(at: usize, seed: u8) -> u8 {
    (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed
}

fn below(end: u64) -> usize {
    (entropy::u64() % end) as usize
}

/// Mostly small, some of several pages, a few of hundreds of KiB.
fn any_len() -> usize {
    let len_max = match below(20) {
        0 => 300_000,
        1..4 => 20_000,
        4..10 => 1_200,
        _ => 200,
    };
    1 + below(len_max)
}

#[unikernel_rt::test]
async fn blocks_of_all_sizes_keep_what_is_in_them() {
    // The executor's own memory comes with the first use.
    yield_now().await;
    let before = heap::stats().in_use;
    work().await;
    assert_eq!(heap::stats().in_use, before);
}

/// The same while some of them are noted.
#[unikernel_rt::test]
async fn samples_know_what_is_in_use() {
    heap::watch_sites();
    let bytes = || heap::sites().sites.iter().map(|site| site.bytes).sum::<usize>();
    let before = bytes();
    work().await;
    assert_eq!(bytes(), before);
    let kept: Vec<_> = (0..2000).map(|_| Block::new(1000, 3)).collect();
    let noted = bytes() - before;
    assert!((1_700_000..2_300_000).contains(&noted), "{noted} bytes of 2,000,000");
    kept.iter().for_each(Block::check);
    drop(kept);
    assert_eq!((bytes(), heap::sites().missed), (before, 0));
}

/// Blocks that come, grow, shrink and go.
async fn work() {
    let mut blocks: Vec<Block> = Vec::new();
    for round in 0..20_000 {
        if round % 1000 == 0 {
            yield_now().await;
        }
        let at = below(blocks.len().max(1) as u64);
        match below(8) {
            0..4 if blocks.len() < 400 => blocks.push(Block::new(any_len(), round as u8)),
            4 if !blocks.is_empty() => {
                let block = &mut blocks[at];
                block.grow(block.bytes.len() + any_len());
            }
            5 if !blocks.is_empty() => {
                let block = &mut blocks[at];
                block.shrink(1 + block.bytes.len() / 2);
            }
            _ if !blocks.is_empty() => blocks.swap_remove(at).check(),
            _ => {}
        }
    }
    blocks.iter().for_each(Block::check);
}

#[repr(align(64))]
struct Line(u8);
#[repr(align(4096))]
struct Page([u8; 5000]);
#[repr(align(65536))]
struct Aligned(u8);

#[unikernel_rt::test]
async fn blocks_are_aligned() {
    fn is_aligned<T>(value: &T) -> bool {
        core::ptr::from_ref(value).addr().is_multiple_of(align_of::<T>())
    }
    for round in 0..20 {
        let odd = vec![0_u8; 1 + round * 777];
        let (line, page, aligned) = (Box::new(Line(1)), Box::new(Page([2; 5000])), Box::new(Aligned(3)));
        assert!(is_aligned(&*line) && is_aligned(&*page) && is_aligned(&*aligned), "round {round}");
        assert!(line.0 == 1 && page.0.iter().all(|byte| *byte == 2) && aligned.0 == 3 && odd[0] == 0);
    }
}

/// A buffer that doubles while nobody is in its way stays where it is.
#[unikernel_rt::test]
async fn long_blocks_grow_in_place() {
    let mut block = Block::new(16 * 1024, 7);
    let (mut moves, mut len) = (0, 16 * 1024);
    while len < 1024 * 1024 {
        len *= 2;
        let before = block.bytes.as_ptr();
        block.grow(len);
        moves += usize::from(block.bytes.as_ptr() != before);
    }
    block.check();
    assert!(moves <= 2, "{moves} of 6 times it was copied");
}

/// Takes all there is, in pieces of `len`, until an allocation fails.
fn take_all(len: usize) -> VecDeque<Vec<u8>> {
    let mut blocks = VecDeque::with_capacity(heap::stats().total / len);
    loop {
        let mut block = Vec::new();
        if block.try_reserve_exact(len).is_err() {
            return blocks;
        }
        blocks.push_back(block);
    }
}

#[unikernel_rt::test]
async fn after_an_exhausted_heap_all_of_it_can_be_used_again() {
    let before = heap::stats().in_use;
    let whole = heap::free();
    for len in [64 * 1024, 1000, 2000, 64 * 1024] {
        let blocks = take_all(len);
        assert!(blocks.len() * len > whole / 10 * 8, "{} blocks of {len} of {whole} bytes", blocks.len());
        drop(blocks);
        assert_eq!(heap::stats().in_use, before);
    }
    let mut too_long = Vec::<u8>::new();
    assert!(too_long.try_reserve_exact(heap::stats().total + 1).is_err());
    assert!(too_long.try_reserve_exact(isize::MAX as usize - 4096).is_err());
}

#[unikernel_rt::test]
async fn classes_count_their_blocks() {
    let class = |len: usize| {
        let classes = heap::classes();
        let fits = classes.iter().position(|class| class.block_len_max.is_none_or(|max| len <= max));
        classes[fits.expect("the last class takes all")]
    };
    for len in [1, 100, 1000, 100_000] {
        let (before, in_use) = (class(len), heap::stats().in_use);
        let blocks = [0; 9].map(|_| Vec::<u8>::with_capacity(len));
        assert_eq!(class(len).blocks, before.blocks + blocks.len());
        assert!(class(len).held >= blocks.len() * len);
        assert!(heap::stats().in_use >= in_use + blocks.len() * len);
        drop(blocks);
        assert_eq!(class(len).blocks, before.blocks);
    }
}

/// Blocks do not come in the order of their addresses, nor is the last that was freed the next one.
#[unikernel_rt::test]
async fn the_order_of_blocks_is_mixed() {
    let blocks: Vec<Box<[u64; 5]>> = (0..200).map(|round| Box::new([round; 5])).collect();
    let steps: Vec<isize> =
        blocks.windows(2).map(|two| &raw const *two[1] as isize - &raw const *two[0] as isize).collect();
    let commonest = steps.iter().map(|step| steps.iter().filter(|other| *other == step).count()).max();
    assert!(commonest < Some(190), "the next block is always as far away: {steps:?}");
}
