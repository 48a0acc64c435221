//! How much stack the port takes: whoever runs it on a small one must know.

use std::{cell::Cell, collections::BTreeMap, rc::Rc};
use unikernel_littlefs::{Fault, Geometry, Littlefs, Mode, Storage};

/// What `blockfs` gives it is eight times as much.
const STACK_LEN_MAX: usize = 8 * 1024;

/// A disk in memory that notes how far the stack has come down when it is called.
struct Memory {
    blocks: BTreeMap<u32, Vec<u8>>,
    deepest: Rc<Cell<usize>>,
}

impl Memory {
    #[inline(never)]
    fn note(&self) {
        let here = 0_u8;
        self.deepest.set(self.deepest.get().min(std::ptr::from_ref(&here).addr()));
    }
}

impl Storage for Memory {
    fn block_count(&self) -> u32 {
        512
    }

    fn read(&mut self, block: u32, offset: u32, bytes: &mut [u8]) -> Result<(), Fault> {
        self.note();
        match self.blocks.get(&block) {
            Some(block) => bytes.copy_from_slice(&block[offset as usize..][..bytes.len()]),
            None => bytes.fill(0),
        }
        Ok(())
    }

    fn write(&mut self, block: u32, offset: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.note();
        let block = self.blocks.entry(block).or_insert_with(|| vec![0; 4096]);
        block[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.note();
        Ok(())
    }
}

/// Folders that are split and rewritten, files that move between them, and what is found again after a mount.
fn work(volume: &mut Littlefs<Memory>, round: u32) -> unikernel_littlefs::Result<()> {
    for folder in 0..8 {
        volume.create_folder(&format!("{round} {folder}"))?;
    }
    for number in 0..120 {
        let path = format!("{round} {}/file {number}", number % 8);
        let (file, _) = volume.open_to_write(&path, Mode::Create)?;
        volume.write(file, 0, &vec![1; number * 50])?;
        volume.sync(file, 1)?;
        volume.close(file);
        if number % 3 == 0 {
            volume.rename(&path, &format!("{round} {}/moved {number}", number % 5))?;
        } else if number % 3 == 1 {
            volume.remove(&path)?;
        }
    }
    (0..8).try_for_each(|folder| volume.list(&format!("{round} {folder}")).map(drop))
}

#[test]
fn the_stack_is_small() {
    let here = 0_u8;
    let top = std::ptr::from_ref(&here).addr();
    let deepest = Rc::new(Cell::new(top));
    let geometry = Geometry {
        block_len: 4096,
        block_count: 512,
        sector_len: 512,
        cache_len: 4096,
        lookahead_len: 64,
        metadata_len_max: 4096,
    };
    let mut memory = Memory { blocks: BTreeMap::new(), deepest: deepest.clone() };
    memory = Littlefs::format(memory, &geometry).unwrap();
    let mut volume = Littlefs::mount(memory, &geometry).unwrap();
    (0..2).try_for_each(|round| work(&mut volume, round)).unwrap();
    let len = top - deepest.get();
    println!("{len} bytes of stack");
    assert!(len < STACK_LEN_MAX, "{len} bytes of stack");
}
