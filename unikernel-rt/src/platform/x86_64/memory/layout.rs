//! The addresses of this boot.

use super::{DEVICES_NEXT, LINK_START, PAGE};
use core::{
    mem::offset_of,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// The stack of the executor and of every task while it is polled. Futures live on the heap, so this holds only
/// the deepest chain of calls, with room for debug builds.
const MAIN_LEN: u64 = 128 * 1024;
/// The others hold a report.
const REPORT_LEN: u64 = 16 * 1024;

/// A stack. Each has a page below it that is not mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Stack {
    /// Of the watchdog's interrupt, which comes while others run.
    Watchdog,
    /// Of what can happen on any stack, that of faults too: double fault, non-maskable interrupt, machine check.
    DoubleFault,
    /// Of faults, for the case that the fault is the stack.
    Fault,
    /// Of the executor and its tasks.
    Main,
}

/// In the order of their physical addresses: the boot code begins at the end of the last. Their addresses are in the other order.
const STACKS: [(Stack, u64); 4] = [
    (Stack::Watchdog, REPORT_LEN),
    (Stack::DoubleFault, REPORT_LEN),
    (Stack::Fault, REPORT_LEN),
    (Stack::Main, MAIN_LEN),
];

/// Bytes of all stacks.
pub(in super::super) const STACKS_LEN: u64 = 3 * REPORT_LEN + MAIN_LEN;

/// Where everything lies. All zero before [`Plan`](super::plan) has drawn it, read-only after.
///
/// Debuggers and readers of core dumps find it in physical memory, where it was linked.
#[repr(C)]
pub(super) struct Layout {
    /// `UKLAYOUT`.
    magic: AtomicU64,
    version: AtomicU64,
    /// The image's address, less the one it was linked at.
    slide: AtomicU64,
    /// The direct map shows physical address 0 here.
    pub(super) direct_map: AtomicU64,
    stack_bottom: AtomicU64,
    stack_top: AtomicU64,
    /// Physical addresses up to this have their place in the direct map.
    pub(super) direct_map_len: AtomicU64,
    pub(super) image: AtomicU64,
    pub(super) image_physical: AtomicU64,
    /// The page below the first stack.
    stacks: AtomicU64,
}

#[unsafe(export_name = "__unikernel_layout")]
#[unsafe(link_section = ".bss.sealed")]
pub(super) static LAYOUT: Layout = Layout {
    magic: AtomicU64::new(0),
    version: AtomicU64::new(0),
    slide: AtomicU64::new(0),
    direct_map: AtomicU64::new(0),
    stack_bottom: AtomicU64::new(0),
    stack_top: AtomicU64::new(0),
    direct_map_len: AtomicU64::new(0),
    image: AtomicU64::new(0),
    image_physical: AtomicU64::new(0),
    stacks: AtomicU64::new(0),
};

/// For the boot code.
pub(in super::super) const STACK_TOP_OFFSET: usize = offset_of!(Layout, stack_top);

const MAGIC: u64 = u64::from_le_bytes(*b"UKLAYOUT");
const VERSION: u64 = 1;

/// The part of the address space that an address is drawn from. Addresses have 48 bits; the lower half is empty.
struct Window {
    range: Range<u64>,
    align: u64,
}

const DIRECT_MAP: Window = Window { range: 0xffff_8000_0000_0000..0xffff_c000_0000_0000, align: 2 << 20 };
/// The numbers of log strings are the low 16 bits of addresses that move with the image.
const IMAGE: Window = Window { range: 0xffff_c000_0000_0000..0xffff_e000_0000_0000, align: 64 * 1024 };
const STACK: Window = Window { range: 0xffff_e000_0000_0000..0xffff_f000_0000_0000, align: PAGE };
const DEVICES: Window = Window { range: 0xffff_f000_0000_0000..0xffff_ff00_0000_0000, align: PAGE };

/// More registers than any machine has.
const DEVICES_LEN: u64 = 1 << 40;

impl Window {
    fn draw(&self, random: u64, len: u64) -> u64 {
        let places = (self.range.end - self.range.start - len) / self.align;
        self.range.start + random % places * self.align
    }
}

/// The addresses drawn for this boot.
pub(super) struct Drawn {
    pub(super) image: u64,
    pub(super) direct_map: u64,
    pub(super) stacks: u64,
    devices: u64,
}

impl Drawn {
    /// Independent ones, from four random words.
    pub(super) fn new(random: [u64; 4], image_len: u64, direct_map_len: u64) -> Drawn {
        Drawn {
            image: IMAGE.draw(random[0], image_len),
            direct_map: DIRECT_MAP.draw(random[1], direct_map_len),
            stacks: STACK
                .draw(random[2], STACKS_LEN + (STACKS.len() as u64 + 1) * PAGE + super::plan::BELOW_STACKS_LEN),
            devices: DEVICES.draw(random[3], DEVICES_LEN),
        }
    }

    /// Makes them the ones that count: to be called when the tables are ready.
    pub(super) fn publish(&self, image_physical: u64, direct_map_len: u64) {
        let main = stack_in(self.stacks, Stack::Main);
        for (place, value) in [
            (&LAYOUT.magic, MAGIC),
            (&LAYOUT.version, VERSION),
            (&LAYOUT.slide, self.image - LINK_START),
            (&LAYOUT.direct_map, self.direct_map),
            (&LAYOUT.stack_bottom, main.start),
            (&LAYOUT.stack_top, main.end),
            (&LAYOUT.direct_map_len, direct_map_len),
            (&LAYOUT.image, self.image),
            (&LAYOUT.image_physical, image_physical),
            (&LAYOUT.stacks, self.stacks),
            (&DEVICES_NEXT, self.devices),
        ] {
            place.store(value, Ordering::Relaxed);
        }
    }

    /// The stacks, with the offset of each in physical memory.
    pub(super) fn stacks(&self) -> impl Iterator<Item = (Range<u64>, u64)> {
        let mut offset = 0;
        STACKS.into_iter().map(move |(stack, len)| {
            let physical = offset;
            offset += len;
            (stack_in(self.stacks, stack), physical)
        })
    }
}

fn stack_in(stacks: u64, wanted: Stack) -> Range<u64> {
    let mut start = stacks + PAGE;
    for (stack, len) in STACKS.into_iter().rev() {
        if stack == wanted {
            return start..start + len;
        }
        start += len + PAGE;
    }
    unreachable!("every stack is in the table")
}

/// Where a stack lies.
pub(in super::super) fn stack(wanted: Stack) -> Range<u64> {
    stack_in(LAYOUT.stacks.load(Ordering::Relaxed), wanted)
}

/// The stack that has overflowed when touching `address` faults.
pub(in super::super) fn stack_guarded_by(address: u64) -> Option<Stack> {
    let stacks = STACKS.into_iter().map(|(stack, _)| stack);
    stacks.into_iter().find(|wanted| (stack(*wanted).start - PAGE..stack(*wanted).start).contains(&address))
}
