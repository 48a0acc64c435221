//! What is read of firmware's tables and of PCI configuration, with bytes that are nearly right.

use super::{
    super::{
        super::{
            acpi, memory,
            pci::{self, Function},
        },
        pci_transport::{self, PciTransport},
    },
    Effort,
    random::Random,
};
use crate::{platform::console_line, task::yield_now};
use alloc::{boxed::Box, vec, vec::Vec};
use core::cell::Cell;
use virtio_drivers::transport::Transport;

const VENDOR: u16 = 0x1af4;
const CONFIG_LEN: usize = 256;
/// Reads of a bus of 256 functions, each a bridge.
const BUS_READS_MAX: u32 = 32 * (2 + 8 * 3);

/// What was found in all rounds, so that it shows that the bytes are nearly right.
#[derive(Debug, Default)]
struct Found {
    capabilities: usize,
    registers: usize,
    msix: usize,
    functions: usize,
    tables: usize,
    entries: usize,
    generations: usize,
    mmio_devices: usize,
    io_apics: usize,
    overrides: usize,
    power_events: usize,
    doorbells: usize,
}

pub(super) async fn rounds(effort: Effort) {
    let mut found = Found::default();
    for number in effort.first..effort.first + effort.rounds {
        let mut random = Random::new(effort.seed, number);
        configuration(&mut random, &mut found);
        firmware(&mut random, &mut found);
        if number % 16 == 0 {
            buses(&mut random, &mut found);
        }
        found.doorbells += usize::from(rings_in_bounds(&mut random));
        yield_now().await;
    }
    console_line(format_args!("fuzz tables seed={} rounds={} {found:?}", effort.seed, effort.rounds));
}

/// Configuration space of a virtio function, with some bytes wrong.
fn configuration(random: &mut Random, found: &mut Found) {
    let mut bytes = [0; CONFIG_LEN];
    random.fill(&mut bytes);
    bytes[6] |= 1 << 4;
    // Memory ranges of 32 and 64 bits, mostly where a CPU has addresses.
    for bar in 0..6 {
        let high = random.pick(&[0, 0, 0xff, u32::MAX]);
        let word = if bar % 2 == 0 { random.next() as u32 & !1 } else { high };
        put(&mut bytes, 0x10 + 4 * bar, word);
    }
    let mut at = 0x40;
    bytes[0x34] = at as u8;
    for kind in [1, 2, 4, 0] {
        let next = if random.once_in(8) { random.next() as usize % CONFIG_LEN } else { at + 20 };
        let id = if kind == 0 { 0x11 } else { 0x09 };
        put(&mut bytes, at, id | (next as u32) << 8 | kind << 24);
        put(&mut bytes, at + 4, random.pick(&[0, 2, 4, 1, 6, 255]));
        put(&mut bytes, at + 8, random.pick(&[0, 0, 4096, 1, 2, u32::MAX]));
        put(&mut bytes, at + 12, random.pick(&[56, 4096, 4096, 0, 1, u32::MAX]));
        at += 20;
    }
    read_configuration(&bytes, found);
}

fn read_configuration(bytes: &[u8; CONFIG_LEN], found: &mut Found) {
    let read = |offset: u8| {
        let at = usize::from(offset & 0xfc);
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let count = pci::capabilities(&read).count();
    assert!(count <= 48, "{count} capabilities");
    found.capabilities += count;
    for (wanted, len_max) in
        [(&pci_transport::COMMON, 56), (&pci_transport::NOTIFY, 1 << 20), (&pci_transport::DEVICE, 4096)]
    {
        let Some((range, _)) = pci_transport::find(&read, wanted) else { continue };
        assert!(range.start < range.end && range.end - range.start <= len_max && range.end <= 1 << 52, "{range:x?}");
        assert!(range.start.is_multiple_of(2), "registers at {range:x?}");
        found.registers += 1;
    }
    if let Some((_, entries, range)) = pci::msix_table(&read) {
        assert!(range.end - range.start == u64::from(entries) * 16 && range.end <= 1 << 52, "{range:x?}");
        found.msix += 1;
    }
}

fn put(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// Buses full of functions and bridges, which lead anywhere.
fn buses(random: &mut Random, found: &mut Found) {
    let salt = random.next();
    let reads = Cell::new(0);
    let last_bus = random.below(24) as u64;
    let read = |function: Function, offset: u8| {
        reads.set(reads.get() + 1);
        let [bus, device, number] = function.place();
        let place = u64::from(bus) << 16 | u64::from(device) << 8 | u64::from(number);
        let mut own = Random::new(salt ^ place, offset.into());
        match offset {
            0 => own.pick(&[0xffff_ffff, 0x1000_1af4, 0x1234_8086]),
            0x0c => own.pick(&[0, 1 << 16, 0x81 << 16, 0x80 << 16]),
            _ => (own.next() % (last_bus + 1)) as u32 * 0x0001_0100,
        }
    };
    let functions = pci::scan(VENDOR, &read);
    assert!(reads.get() <= 256 * BUS_READS_MAX, "{} reads", reads.get());
    let has_twice = functions.iter().enumerate().any(|(at, function)| functions[at + 1..].contains(function));
    assert!(!has_twice, "a function was found twice");
    found.functions += functions.len();
}

/// Tables of ACPI, with some bytes wrong.
fn firmware(random: &mut Random, found: &mut Found) {
    let mut table = vec![0; 256 + random.below(256)];
    let len = table.len();
    table[..4].copy_from_slice(random.pick(&[b"SSDT", b"APIC", b"XSDT"]));
    put(&mut table, 4, random.pick(&[len as u32, len as u32, 0, 35, 36, u32::MAX, 1 << 20]));
    let mut at = 44;
    while at + 40 < len {
        at += piece(random, &mut table[at..]);
    }
    found.generations += usize::from(acpi::vm_generation(&table).is_some());
    found.io_apics += acpi::io_apics(&table).len();
    found.overrides += acpi::overrides(&table).len();
    let mut fadt = [0; CONFIG_LEN];
    random.fill(&mut fadt);
    fadt[58..60].fill(random.pick(&[0, 0xff]));
    found.power_events += usize::from(acpi::power_events(&fadt).is_some());
    let devices = acpi::mmio_devices(&table);
    assert!(devices.len() <= 128 && devices.iter().all(|device| device.registers.start <= device.registers.end));
    found.mmio_devices += devices.len();
    load(random, table, found);
}

/// Writes something that is looked for. Returns its length.
fn piece(random: &mut Random, place: &mut [u8]) -> usize {
    let number = random.next().to_le_bytes();
    let wide = [0x0e, number[0], number[1], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let pieces: [&[u8]; 9] = [
        b"\x02\x0a\0\x05\x05\0\0\0\x0d\0",
        b"VM_Gen_Counter",
        b"\x08VGIA\x0e\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x08VGIA\x0c\0\x10\0\0",
        b"ADDR\x12\x0c\x02\x0c\0\0\0\x10\x0c\x01\0\0\0",
        b"LNRO0005\0\x86\x09\0\x01\0\x30\xc0\xfe\0\x02\0\0\x89\x06\0\x01\x01\x05\0\0\0",
        b"LNRO0005\0\x86\x09\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\x89\x06\0\x01\x01\xff\xff\xff\xff",
        b"\x01\x0c\0\0\0\0\xc0\xfe\0\0\0\0",
        &wide,
    ];
    let piece = random.pick(&pieces);
    place[..piece.len()].copy_from_slice(piece);
    if random.once_in(8) {
        place[random.below(piece.len())] = number[2];
    }
    piece.len()
}

/// Reads the table from where the firmware would have it.
fn load(random: &mut Random, mut table: Vec<u8>, found: &mut Found) {
    if !random.once_in(4) {
        let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        table[9] = table[9].wrapping_sub(sum);
    }
    let address = memory::physical(table.as_ptr());
    found.tables += usize::from(acpi::load(address).is_some_and(|loaded| loaded == table));
    let mut root = [0; 36];
    root[15] = random.pick(&[0, 2]);
    let addresses = [address, address, 0, 1, u64::MAX, 1 << 52, 1 << 40];
    root[16..20].copy_from_slice(&(random.pick(&addresses) as u32).to_le_bytes());
    root[24..32].copy_from_slice(&random.pick(&addresses).to_le_bytes());
    let root = Box::new(root);
    found.entries += acpi::root_entries(memory::physical(root.as_ptr())).len();
    assert!(acpi::root_entries(u64::MAX - random.below(64) as u64).is_empty(), "tables at the end of all addresses");
}

/// A doorbell where the device says; true if it has one.
fn rings_in_bounds(random: &mut Random) -> bool {
    let place = random.pick(&[0_u16, 1, 3, 15, 16, 4096, u16::MAX]);
    let multiplier = random.pick(&[0_u32, 1, 2, 4, 4096, u32::MAX]);
    has_doorbell(place, multiplier)
}

fn has_doorbell(place: u16, multiplier: u32) -> bool {
    const QUEUE_SIZE: usize = 24;
    const QUEUE_NOTIFY_OFF: usize = 30;
    let mut common = [0; 8];
    common[QUEUE_SIZE / 8] = 64;
    common[QUEUE_NOTIFY_OFF / 8] |= u64::from(place) << (QUEUE_NOTIFY_OFF % 8 * 8);
    let (common, doorbells) = (Box::into_raw(Box::new(common)), Box::into_raw(Box::new([0_u64; 8])));
    // SAFETY: of `into_raw`; freed below, when the transport is gone.
    let mut transport = PciTransport::over(unsafe { &mut *common }, unsafe { &mut *doorbells }, multiplier);
    let has_doorbell = transport.max_queue_size(0) > 0;
    if has_doorbell {
        transport.notify(0);
    }
    drop(transport);
    // SAFETY: of `into_raw`.
    drop(unsafe { (Box::from_raw(common), Box::from_raw(doorbells)) });
    has_doorbell
}

/// What once went wrong.
pub(super) const CASES: &[(&str, fn())] = &[
    ("a capability in memory range 255 overflowed", || {
        let read = |_: u8| 0x09;
        assert!(pci::bar_range(&read, 255, 0, 56).is_none());
    }),
    ("registers beyond the addresses of the CPU were mapped", || {
        let read = |offset: u8| if offset == 0x10 { 0x0000_0004 } else { u32::MAX };
        assert!(pci::bar_range(&read, 0, 0, 56).is_none());
        assert!(memory::physical_range(u64::MAX, 1).is_none() && memory::physical_range(1 << 52, 0).is_none());
    }),
    ("a doorbell beyond the registers was rung", || {
        assert!(!has_doorbell(u16::MAX, 4096) && !has_doorbell(1, 1) && has_doorbell(1, 4));
    }),
    ("the id of a virtual machine at the end of all addresses overflowed", || {
        let table = b"....VM_Gen_Counter\x08VGIA\x0e\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(acpi::vm_generation(table), None);
    }),
    ("power management registers at the end of all ports overflowed", || {
        let mut fadt = [0xff; CONFIG_LEN];
        fadt[112..116].fill(0);
        assert!(acpi::power_events(&fadt).is_none());
    }),
    ("a table that goes on into a guard page was a page fault", || {
        // The heap begins with the first page that is used; its first guard page is not far.
        let first_mib = (0..256_u64).map(|page| page * memory::PAGE);
        assert!(first_mib.map(|page| memory::map_firmware(page..page + 2 * memory::PAGE)).any(|page| page.is_none()));
    }),
    ("buses were looked at once for each bridge that leads there", || {
        let reads = Cell::new(0_u32);
        let read = |function: Function, offset: u8| {
            reads.set(reads.get() + 1);
            match offset {
                0 => 0x1234_8086,
                0x0c => 0x81 << 16,
                _ => (u32::from(function.place()[0]) + 1).min(12) << 8,
            }
        };
        pci::scan(VENDOR, &read);
        assert!(reads.get() <= 13 * BUS_READS_MAX, "{} reads", reads.get());
    }),
];
