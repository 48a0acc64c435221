//! The bookkeeping against a model, on addresses that are just numbers.

use super::{
    blocks::{Blocks, Freed, Misuse},
    chunks::{Chunk, Id, REGION_CHUNKS_MAX, REGIONS_MAX},
    sizes::{self, CHUNK_LEN, CLASSES, class_of},
};
use crate::sim::Random;
use std::{alloc::Layout, collections::BTreeMap};

fn layout(len: usize, align: usize) -> Layout {
    Layout::from_size_align(len, align).expect("a power of two")
}

/// A heap with a region of so many chunks at each address.
fn heap(regions: &[(usize, usize)]) -> Blocks<'static> {
    let mut blocks = Blocks::new();
    for (number, &(start, chunks)) in regions.iter().enumerate() {
        blocks.add_to_total(chunks * CHUNK_LEN);
        extend(&mut blocks, number, start, chunks);
    }
    blocks
}

fn extend(blocks: &mut Blocks<'static>, region: usize, start: usize, chunks: usize) {
    blocks.extend(region, start, |old| {
        let mut table = old.to_vec();
        table.resize(chunks, Chunk::UNUSED);
        table.leak()
    });
}

fn allocate(blocks: &mut Blocks<'_>, layout: Layout) -> Option<usize> {
    blocks.allocate(layout, class_of(layout))
}

/// As the allocator does: the short way, then the long one.
fn free(blocks: &mut Blocks<'_>, address: usize, layout: Layout) -> Result<(), Misuse> {
    let class = class_of(layout);
    match class.map_or(Freed::No, |class| blocks.free_first(address, class, || true)) {
        Freed::Done => Ok(()),
        Freed::Untidy(slab) => {
            blocks.tidy(slab, class.expect("it is a small block"));
            Ok(())
        }
        Freed::No => blocks.free(address, layout.size(), class, || true),
    }
}

/// What is allocated, and that nothing overlaps.
#[derive(Default)]
struct Model(BTreeMap<usize, Layout>);

impl Model {
    fn add(&mut self, regions: &[(usize, usize)], address: usize, layout: Layout) {
        let end = address + layout.size() + if sizes::has_canary(layout.size(), class_of(layout)) { 8 } else { 0 };
        assert!(address.is_multiple_of(layout.align()), "{layout:?} at {address:#x}");
        assert!(
            regions.iter().any(|(start, chunks)| *start <= address && end <= start + chunks * CHUNK_LEN),
            "{layout:?} at {address:#x} is outside"
        );
        if let Some((before, other)) = self.0.range(..end).next_back() {
            assert!(before + other.size() <= address, "{layout:?} at {address:#x} overlaps {other:?} at {before:#x}");
        }
        self.0.insert(address, layout);
    }

    fn pick(&self, random: &mut Random) -> Option<(usize, Layout)> {
        let at = random.below(self.0.len().max(1));
        self.0.iter().nth(at).map(|(address, layout)| (*address, *layout))
    }
}

fn any_layout(random: &mut Random) -> Layout {
    let bits = if random.below(8) == 0 { 14 } else { 5 };
    let align = 1 << random.below(bits);
    let len_max = [64, 1100, 10_000, 200_000][random.below(4)];
    layout(1 + random.below(len_max), align)
}

const REGIONS: [(usize, usize); 3] = [(0x10_0000, 700), (0x7000, 20), (0xffff_8000_0020_1000, 331)];

#[test]
fn random_calls_agree_with_the_model() {
    for seed in 0..20 {
        let (mut blocks, mut model, mut random) = (heap(&REGIONS), Model::default(), Random::new(seed));
        blocks.seed(seed * 77);
        for _ in 0..2_000 {
            step(&mut blocks, &mut model, &mut random);
        }
        let all = std::mem::take(&mut model.0);
        let large = all.values().filter(|layout| class_of(**layout).is_none()).count();
        assert_eq!(blocks.classes()[CLASSES].blocks, large);
        for (address, layout) in all {
            assert_eq!(free(&mut blocks, address, layout), Ok(()));
            assert!(free(&mut blocks, address, layout).is_err(), "{layout:?} freed twice");
        }
        assert_is_whole(&mut blocks);
    }
}

fn step(blocks: &mut Blocks<'_>, model: &mut Model, random: &mut Random) {
    match random.below(8) {
        0..4 => {
            let layout = any_layout(random);
            if let Some(address) = allocate(blocks, layout) {
                model.add(&REGIONS, address, layout);
            }
        }
        4..7 => {
            if let Some((address, layout)) = model.pick(random) {
                assert_eq!(free(blocks, address, layout), Ok(()), "{layout:?} at {address:#x}");
                model.0.remove(&address);
            }
        }
        _ => {
            let Some((address, old)) = model.pick(random) else { return };
            let new = layout(any_layout(random).size(), old.align());
            if blocks.resize(address, old, new) == Ok(true) {
                model.0.remove(&address);
                model.add(&REGIONS, address, new);
            }
        }
    }
    if random.below(200) == 0 {
        blocks.give_back_idle();
    }
}

/// Without blocks each region is one free run again, and nothing is counted.
fn assert_is_whole(blocks: &mut Blocks<'_>) {
    assert_eq!(blocks.stats().in_use, 0);
    blocks.give_back_idle();
    assert!(blocks.classes().iter().all(|class| class.blocks == 0 && class.held == 0), "{:?}", blocks.classes());
    for (_, chunks) in REGIONS {
        assert!(allocate(blocks, layout(chunks * CHUNK_LEN, 1)).is_some(), "{chunks} chunks are in pieces");
    }
    assert_eq!(allocate(blocks, layout(1, 1)), None);
}

#[test]
fn slots_are_found_from_any_byte() {
    for class in 0..CLASSES {
        let slot = sizes::slot_len(class);
        let len = usize::from(sizes::SHAPES[class].chunks) * CHUNK_LEN;
        let slots = sizes::SHAPES[class].slots.count_ones() as usize;
        assert!((8..=64).contains(&slots) && (slots + 1) * slot > len, "class {class}");
        for within in 0..len {
            let expected = within.is_multiple_of(slot).then_some((within / slot) as u32);
            assert_eq!(sizes::slot_at(within, class), expected, "{within} of class {class}");
        }
    }
}

#[test]
fn small_blocks_have_room_for_their_canary() {
    for len in 1..=1016 {
        for align in [1, 8, 16, 32, 64, 256, 1024] {
            if let Some(class) = class_of(layout(len, align)) {
                assert!(len <= sizes::block_len_max(class));
                assert!(sizes::slot_len(class).is_multiple_of(align));
                assert!(align > 32 || sizes::slot_len(class) < len + 8 + 32);
            }
        }
    }
    assert_eq!(class_of(layout(1016, 8)), Some(CLASSES - 1));
    assert_eq!(class_of(layout(1017, 8)), None);
}

/// The block of `len` bytes, what is freed as what, and what becomes of it.
#[track_caller]
fn check(len: usize, freed: impl FnOnce(usize) -> usize, freed_len: usize, expected: &str) {
    let mut blocks = heap(&REGIONS);
    let neighbours = [0, 1].map(|_| allocate(&mut blocks, layout(len, 8)).unwrap());
    let address = allocate(&mut blocks, layout(len, 8)).unwrap();
    let error = free(&mut blocks, freed(address), layout(freed_len, 8)).unwrap_err();
    assert_eq!(error.to_string(), expected);
    for block in [address, neighbours[0], neighbours[1]] {
        assert_eq!(free(&mut blocks, block, layout(len, 8)), Ok(()), "nothing had changed");
    }
    let twice = free(&mut blocks, address, layout(len, 8)).unwrap_err();
    assert_eq!(twice.to_string(), format!("heap: double free of a block of {len} bytes"));
    assert_is_whole(&mut blocks);
}

const NO_BLOCK: &str = "heap: free of a pointer that is no block";

#[test]
fn an_interior_pointer_of_a_small_block() {
    check(100, |address| address + 8, 100, NO_BLOCK)
}

#[test]
fn an_interior_pointer_of_a_large_block() {
    check(100_000, |address| address + 4096, 100_000, NO_BLOCK)
}

#[test]
fn a_small_interior_pointer_of_a_large_block() {
    check(100_000, |address| address + 2048, 100, NO_BLOCK)
}

#[test]
fn a_pointer_below_the_heap() {
    check(100, |_| 0x6ff0, 100, NO_BLOCK)
}

#[test]
fn a_null_pointer() {
    check(100_000, |_| 0, 100_000, NO_BLOCK)
}

#[test]
fn a_pointer_behind_a_region() {
    check(100, |_| REGIONS[0].0 + REGIONS[0].1 * CHUNK_LEN, 100, NO_BLOCK)
}

#[test]
fn a_small_block_of_another_class() {
    check(100, |address| address, 200, "heap: a block of 120 bytes was freed as one of 200")
}

#[test]
fn a_small_block_as_a_large_one() {
    check(100, |address| address, 5000, "heap: a block of 120 bytes was freed as one of 5000")
}

#[test]
fn a_large_block_as_a_small_one() {
    check(5000, |address| address, 100, "heap: a block of 6144 bytes was freed as one of 100")
}

#[test]
fn a_large_block_of_another_length() {
    check(5000, |address| address, 9000, "heap: a block of 6144 bytes was freed as one of 9000")
}

/// The end of a slab that is too short for a slot.
#[test]
fn the_rest_of_a_slab_is_no_block() {
    let mut blocks = heap(&[(0x10_0000, 8)]);
    let layout = layout(81, 8);
    assert_eq!(class_of(layout), Some(2), "21 slots of 96 bytes leave 32");
    while allocate(&mut blocks, layout).is_some() {}
    assert_eq!(free(&mut blocks, 0x10_0000 + 21 * 96, layout), Err(Misuse::NoBlock));
}

/// Memory is filled with one size, emptied, and filled with another: nothing is lost in between.
#[test]
fn all_memory_serves_every_size() {
    let mut blocks = heap(&[(0x10_0000, 1000)]);
    for len in [8, 24, 100, 500, 1000, 1016, 1500, 2048, 30_000, 1000 * CHUNK_LEN, 24] {
        let layout = layout(len, 8);
        let all: Vec<usize> = std::iter::from_fn(|| allocate(&mut blocks, layout)).collect();
        let room = class_of(layout).map_or(len.next_multiple_of(CHUNK_LEN), sizes::slot_len);
        assert!(all.len() * room * 100 > 1000 * CHUNK_LEN * 93, "{} blocks of {len}", all.len());
        assert_eq!(blocks.stats().in_use, all.len() * room);
        for address in all {
            assert_eq!(free(&mut blocks, address, layout), Ok(()));
        }
        // What is kept for the last size is asked for when memory is short.
        blocks.give_back_idle();
    }
}

#[test]
fn a_block_grows_where_it_is_if_there_is_room() {
    let mut blocks = heap(&[(0x10_0000, 1000)]);
    let [short, long] = [4096, 1_000_000].map(|len| layout(len, 1));
    let address = allocate(&mut blocks, short).unwrap();
    assert_eq!(blocks.resize(address, short, long), Ok(true));
    let behind = allocate(&mut blocks, short).unwrap();
    assert_eq!(blocks.resize(address, long, layout(1_100_000, 1)), Ok(false));
    assert_eq!(blocks.resize(address, long, short), Ok(true));
    assert_eq!(blocks.stats().in_use, 2 * 4096);
    assert_eq!(
        blocks.resize(address, long, short).unwrap_err().to_string(),
        "heap: a block of 4096 bytes was freed as one of 1000000"
    );
    assert_eq!(free(&mut blocks, behind, short), Ok(()));
    assert_eq!(blocks.resize(address, short, layout(1000 * CHUNK_LEN, 1)), Ok(true), "the whole region");
}

/// Free pieces of every length lie before the rest of the memory.
#[test]
fn what_had_to_move_has_room_to_grow() {
    let mut blocks = heap(&[(0x10_0000, 1000)]);
    let pieces: Vec<_> = (1..40).map(|chunks| layout(chunks * CHUNK_LEN, 1)).collect();
    let addresses: Vec<_> = pieces.iter().map(|piece| allocate(&mut blocks, *piece).unwrap()).collect();
    for index in (0..pieces.len()).step_by(2) {
        free(&mut blocks, addresses[index], pieces[index]).unwrap();
    }
    let [short, longer, long] = [5, 10, 20].map(|chunks| layout(chunks * CHUNK_LEN, 1));
    let tight = allocate(&mut blocks, short).unwrap();
    assert_eq!(blocks.resize(tight, short, longer), Ok(false));
    let roomy = blocks.allocate_to_grow(longer).unwrap();
    assert_eq!(blocks.resize(roomy, longer, long), Ok(true));
    assert_eq!(blocks.allocate_to_grow(layout(300 * CHUNK_LEN, 1)), None);
}

#[test]
fn a_region_that_grows_joins_what_it_has() {
    let mut blocks = heap(&[(0x10_0000, 10)]);
    assert_eq!(allocate(&mut blocks, layout(15 * CHUNK_LEN, 1)), None);
    extend(&mut blocks, 0, 0x10_0000, 15);
    assert_eq!(allocate(&mut blocks, layout(15 * CHUNK_LEN, 1)), Some(0x10_0000));
    extend(&mut blocks, 0, 0x10_0000, 17);
    assert!(allocate(&mut blocks, layout(2 * CHUNK_LEN, 1)).is_some());
}

#[test]
fn no_alignment_is_too_large_to_be_asked_for() {
    let mut blocks = heap(&[(0xffff_ffff_0000_1000, 1000)]);
    for bits in 0..63 {
        let layout = layout(100, 1 << bits);
        let address = allocate(&mut blocks, layout);
        assert_eq!(address.is_some(), bits <= 20, "2^{bits}");
        if let Some(address) = address {
            assert!(address.is_multiple_of(layout.align()));
            assert_eq!(free(&mut blocks, address, layout), Ok(()));
        }
        blocks.give_back_idle();
    }
}

/// A block just freed is not the next, and slots do not come in a row.
#[test]
fn the_order_of_small_blocks_is_not_foretold() {
    let order = |seed| {
        let mut blocks = heap(&REGIONS);
        blocks.seed(seed);
        let layout = layout(50, 8);
        // One slab and a part of another.
        let addresses: Vec<usize> = (0..40).map(|_| allocate(&mut blocks, layout).unwrap()).collect();
        free(&mut blocks, addresses[10], layout).unwrap();
        assert_ne!(allocate(&mut blocks, layout), Some(addresses[10]));
        addresses
    };
    let orders: Vec<_> = (1..20).map(|seed| order(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed))).collect();
    for (number, one) in orders.iter().enumerate() {
        assert!(orders[..number].iter().all(|other| other != one), "seed {number} says nothing");
    }
}

#[test]
fn a_descriptor_is_small() {
    assert_eq!((size_of::<Chunk>(), size_of::<Id>()), (24, 4));
    assert!(Id::new(REGIONS_MAX - 1, REGION_CHUNKS_MAX - 1).is_some());
}

#[test]
fn what_was_written_past_its_end_is_not_freed() {
    let mut blocks = heap(&REGIONS);
    for len in [50, 5000] {
        let layout = layout(len, 8);
        let address = allocate(&mut blocks, layout).unwrap();
        assert!(class_of(layout).is_none_or(|class| matches!(blocks.free_first(address, class, || false), Freed::No)));
        assert_eq!(blocks.free(address, len, class_of(layout), || false), Err(Misuse::Overflow { len }));
        assert_eq!(free(&mut blocks, address, layout), Ok(()), "nothing had changed");
    }
}

#[test]
fn a_write_past_the_end_has_its_text() {
    assert_eq!(Misuse::Overflow { len: 9 }.to_string(), "heap: a block of 9 bytes was written past its end");
}
