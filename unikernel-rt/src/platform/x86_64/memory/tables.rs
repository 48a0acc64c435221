//! Page tables of 4 levels (Intel SDM volume 3, chapter 4.5), in pages of 4 KiB and 2 MiB.

use super::{LARGE_PAGE, PAGE};
use crate::platform::x86_64::unprotected::{Protection, is_off};
use core::ops::Range;
use x86_64::{
    PhysAddr, VirtAddr,
    instructions::tlb,
    registers::control::Cr3,
    structures::paging::{PageTable, PageTableFlags as Flags, page_table::PageTableEntry},
};

/// What one entry of each level covers, from the top.
pub(super) const LEVELS: [u64; 4] = [512 << 30, 1 << 30, LARGE_PAGE, PAGE];

/// The page tables of an address space, and where new tables come from.
pub(super) struct Tables<A> {
    /// Physical.
    root: u64,
    /// A table at physical address `p` is reached at `window + p`.
    window: u64,
    new_table: A,
}

impl<A: FnMut() -> Option<u64>> Tables<A> {
    /// Empty ones. `new_table` gives the physical addresses of cleared pages, for ever, and does so now.
    pub(super) fn new(window: u64, mut new_table: A) -> Tables<A> {
        let root = new_table().expect("there is room for the first table");
        Tables { root, window, new_table }
    }

    /// Those in use.
    pub(super) fn current(window: u64, new_table: A) -> Tables<A> {
        Tables { root: Cr3::read().0.start_address().as_u64(), window, new_table }
    }

    pub(super) fn root(&self) -> u64 {
        self.root
    }

    /// The table at a physical address.
    fn table(&self, physical: u64) -> *mut PageTable {
        (self.window + physical) as *mut PageTable
    }

    /// Maps whole pages, in the largest ones that fit. What is mapped already stays as it is.
    pub(super) fn map(&mut self, at: u64, physical: Range<u64>, flags: Flags) {
        let mut done = 0;
        while physical.start + done < physical.end {
            done += self.map_one(at + done, physical.start + done, physical.end - physical.start - done, flags);
        }
    }

    /// Maps one page and returns its size.
    fn map_one(&mut self, at: u64, physical: u64, len: u64, flags: Flags) -> u64 {
        let mut table = self.table(self.root);
        for size in LEVELS {
            // SAFETY: `table` is the root or came from an entry: page tables live for ever, are reached at these addresses
            // and are touched under `memory` only.
            let entry = unsafe { &mut (&mut *table)[index(at, size)] };
            let is_leaf = size == PAGE || entry.flags().contains(Flags::HUGE_PAGE);
            if !entry.is_unused() && is_leaf {
                return size - at % size;
            }
            let fits = (at | physical).is_multiple_of(size) && len >= size && size <= LARGE_PAGE;
            if entry.is_unused() && fits {
                set_leaf(entry, physical, flags, size > PAGE);
                return size;
            }
            if entry.is_unused() {
                let new = (self.new_table)().expect("the boot heap was sized for all page tables");
                entry.set_addr(PhysAddr::new(new), Flags::PRESENT | Flags::WRITABLE);
            }
            table = self.table(entry.addr().as_u64());
        }
        unreachable!("a page of 4 KiB always fits")
    }

    /// Whether a byte can be read.
    pub(super) fn is_mapped(&self, at: u64) -> bool {
        let mut table = self.table(self.root);
        for size in LEVELS {
            // SAFETY: as in `map_one`.
            let entry = unsafe { &(&*table)[index(at, size)] };
            let flags = entry.flags();
            if !flags.contains(Flags::PRESENT) || size == PAGE || flags.contains(Flags::HUGE_PAGE) {
                return flags.contains(Flags::PRESENT);
            }
            table = self.table(entry.addr().as_u64());
        }
        false
    }

    /// Makes an entry of the root lead to a table of somebody else.
    pub(super) fn borrow_first(&mut self, pdpt: u64) {
        // SAFETY: the root is ours, see `map_one`.
        let entry = unsafe { &mut (&mut *self.table(self.root))[0] };
        entry.set_addr(PhysAddr::new(pdpt), Flags::PRESENT | Flags::WRITABLE);
    }

    /// Unmaps the lowest 512 GiB, which the boot code mapped. Nobody uses an address there any more.
    pub(super) fn forget_boot_map(&mut self) {
        // SAFETY: the root is ours, see `map_one`.
        unsafe { &mut (&mut *self.table(self.root))[0] }.set_unused();
        tlb::flush_all();
    }

    /// Gives a page of 4 KiB other permissions.
    pub(super) fn protect(&mut self, page: u64, flags: Flags) {
        let entry = self.entry(page).expect("the boot heap has room for the table of a split page");
        let address = entry.addr();
        entry.set_addr(address, Flags::PRESENT | flags);
        tlb::flush(VirtAddr::new(page));
    }

    /// Lets user code read and run a page: the permission must be there on every level.
    #[cfg(feature = "selftest")]
    pub(super) fn give_to_users(&mut self, page: u64) {
        self.entry(page).expect("there is memory for a table");
        let mut table = self.table(self.root);
        for size in LEVELS {
            // SAFETY: as in `map_one`.
            let entry = unsafe { &mut (&mut *table)[index(page, size)] };
            entry.set_flags((entry.flags() | Flags::USER_ACCESSIBLE) - Flags::NO_EXECUTE);
            table = self.table(entry.addr().as_u64());
        }
        tlb::flush(VirtAddr::new(page));
    }

    /// The entry of one page of 4 KiB, split from a larger one if need be. `None` when there is no memory for that.
    pub(super) fn entry(&mut self, page: u64) -> Option<&mut PageTableEntry> {
        let mut table = self.table(self.root);
        for size in LEVELS {
            // SAFETY: as in `map_one`.
            let entry = unsafe { &mut (&mut *table)[index(page, size)] };
            if size == PAGE {
                return Some(entry);
            }
            if entry.flags().contains(Flags::HUGE_PAGE) {
                self.split(entry)?;
            }
            table = self.table(entry.addr().as_u64());
        }
        None
    }

    /// Replaces a page of 2 MiB by a table that maps the same.
    fn split(&mut self, entry: &mut PageTableEntry) -> Option<()> {
        let new = (self.new_table)()?;
        // In the entry of a page of 4 KiB this bit means something else.
        let flags = entry.flags() - Flags::HUGE_PAGE;
        // SAFETY: a page that was just allocated, and cleared: 512 unused entries.
        for (small, number) in unsafe { &mut *self.table(new) }.iter_mut().zip(0..) {
            small.set_addr(entry.addr() + number * PAGE, flags);
        }
        // The CPU walks the table from the next line on: this code may lie in the page.
        core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::SeqCst);
        entry.set_addr(PhysAddr::new(new), Flags::PRESENT | Flags::WRITABLE);
        Some(())
    }

    /// Calls `f` with the address, size and permissions of every page that is mapped.
    pub(super) fn for_each(&self, f: &mut dyn FnMut(u64, u64, Flags)) {
        self.walk(self.root, 0, 0, Flags::WRITABLE, f);
    }

    fn walk(&self, table: u64, level: usize, start: u64, above: Flags, f: &mut dyn FnMut(u64, u64, Flags)) {
        // SAFETY: as in `map_one`.
        let table = unsafe { &*self.table(table) };
        for (entry, number) in table.iter().zip(0_u64..) {
            if !entry.flags().contains(Flags::PRESENT) {
                continue;
            }
            let size = LEVELS[level];
            // Bit 47 is repeated above it.
            let at = VirtAddr::new_truncate(start + number * size).as_u64();
            // Writing must be allowed on every level; one that forbids execution forbids it.
            let writable = above & entry.flags() & Flags::WRITABLE;
            let flags = writable | (above | entry.flags()) & Flags::NO_EXECUTE;
            match size == PAGE || entry.flags().contains(Flags::HUGE_PAGE) {
                true => f(at, size, flags),
                false => self.walk(entry.addr().as_u64(), level + 1, at, flags, f),
            }
        }
    }
}

fn index(at: u64, size: u64) -> usize {
    (at / size) as usize % 512
}

fn set_leaf(entry: &mut PageTableEntry, physical: u64, flags: Flags, large: bool) {
    let size = if large { Flags::HUGE_PAGE } else { Flags::empty() };
    entry.set_addr(PhysAddr::new(physical), Flags::PRESENT | flags | size);
}

/// The permissions, but for what an image for tests has turned off.
pub(super) fn flags(wanted: Flags) -> Flags {
    let mut flags = wanted;
    flags.set(Flags::NO_EXECUTE, wanted.contains(Flags::NO_EXECUTE) && !is_off(Protection::NoExecute));
    flags.set(Flags::WRITABLE, wanted.contains(Flags::WRITABLE) || is_off(Protection::ReadOnly));
    flags
}
