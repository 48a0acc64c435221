//! From the firmware's call to the kernel's entry.

use crate::files;
use core::{fmt, panic::PanicInfo, ptr::NonNull, time::Duration};
use uefi::{
    Status,
    boot::{self, AllocateType, MemoryType},
    entry,
    mem::memory_map::MemoryMap,
    println, system,
    table::cfg::ConfigTableEntry,
};
use unikernel_loader::{
    ReadAt, handover,
    kernel::Kernel,
    memory::{LOW_END, PAGE, Ram, room},
    start_info::StartInfo,
};

/// How long an error stays on the screen before the firmware tries its next way to start.
const READING_TIME: Duration = Duration::from_secs(10);

/// Why the kernel is not started.
pub(crate) struct Problem {
    what: &'static str,
    status: Option<Status>,
}

impl Problem {
    pub(crate) fn new(what: &'static str, error: uefi::Error) -> Problem {
        Problem { what, status: Some(error.status()) }
    }
}

impl From<&'static str> for Problem {
    fn from(what: &'static str) -> Problem {
        Problem { what, status: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unikernel loader: {}", self.what)?;
        self.status.map_or(Ok(()), |status| write!(f, " ({status})"))
    }
}

#[entry]
fn main() -> Status {
    let Err(problem) = start();
    println!("{problem}");
    boot::stall(READING_TIME);
    Status::LOAD_ERROR
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("unikernel loader: {info}");
    loop {
        core::hint::spin_loop();
    }
}

fn start() -> Result<core::convert::Infallible, Problem> {
    uefi::helpers::init().map_err(|error| Problem::new("the firmware has no console", error))?;
    let mut partition = files::partition()?;
    let line = files::arguments(&mut partition)?;
    let mut file = files::kernel(&mut partition)?;
    let kernel = Kernel::read(&mut file)?;
    let at = load(&kernel, &mut file)?;
    let info = pages(AllocateType::MaxAddress(LOW_END - 1), MemoryType::LOADER_DATA, 1)?;
    // Firmware may forbid to execute what was allocated as data.
    let page = pages(AllocateType::MaxAddress(LOW_END - 1), MemoryType::LOADER_CODE, 1)?;
    let rsdp = rsdp();
    drop((file, partition));
    // SAFETY: nothing of the boot services is used from here on; the files were closed.
    let map = unsafe { boot::exit_boot_services(Some(MemoryType::LOADER_DATA)) };
    let ram = ram(&map, is_free_after);
    // SAFETY: a page of ours below 1 GiB, which is mapped where it is; a start info fits into one.
    unsafe { info.cast::<StartInfo>().write(StartInfo::new(info.addr().get() as u64, &line, &ram, rsdp)) };
    // SAFETY: the page is below 1 GiB and ours; kernel and start info are there, below 1 GiB, too. The boot services have
    // stopped all devices, and their memory is nobody's.
    unsafe { handover::enter(page.as_ptr(), (at + kernel.entry) as u32, info.addr().get() as u32) }
}

/// Puts the kernel where there is room for it; where that is.
fn load(kernel: &Kernel, file: &mut files::Bytes) -> Result<u64, Problem> {
    let map = boot::memory_map(MemoryType::LOADER_DATA)
        .map_err(|error| Problem::new("the firmware does not tell what memory there is", error))?;
    let ram_end = ram(&map, is_free_after).end();
    let at = ram(&map, |kind| kind == MemoryType::CONVENTIONAL).place(kernel.len, ram_end)?;
    drop(map);
    let len = kernel.len + room(kernel.len, ram_end);
    let start = pages(AllocateType::Address(at), MemoryType::LOADER_DATA, len.div_ceil(PAGE))?;
    // SAFETY: just allocated, of this length.
    unsafe { start.write_bytes(0, kernel.len as usize) };
    // SAFETY: it is all zeros since the line above, and nobody else has it.
    let memory = unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), kernel.len as usize) };
    for segment in kernel.segments() {
        let bytes = &mut memory[segment.offset as usize..][..segment.len as usize];
        file.read_at(segment.place, bytes)?;
    }
    Ok(at)
}

fn pages(place: AllocateType, kind: MemoryType, count: u64) -> Result<NonNull<u8>, Problem> {
    let what = "the machine has too little memory below 1 GiB; give it more";
    boot::allocate_pages(place, kind, count as usize).map_err(|error| Problem::new(what, error))
}

/// What is RAM for the kernel: all that is nobody's once the boot services have ended.
fn is_free_after(kind: MemoryType) -> bool {
    [
        MemoryType::CONVENTIONAL,
        MemoryType::LOADER_CODE,
        MemoryType::LOADER_DATA,
        MemoryType::BOOT_SERVICES_CODE,
        MemoryType::BOOT_SERVICES_DATA,
    ]
    .contains(&kind)
}

fn ram(map: &impl MemoryMap, counts: impl Fn(MemoryType) -> bool) -> Ram {
    let mut ram = Ram::default();
    for entry in map.entries().filter(|entry| counts(entry.ty)) {
        ram.add(entry.phys_start..entry.phys_start.saturating_add(entry.page_count.saturating_mul(PAGE)));
    }
    ram
}

/// The root of the ACPI tables; zero without.
fn rsdp() -> u64 {
    system::with_config_table(|table| {
        let find = |guid| table.iter().find(|entry| entry.guid == guid);
        let found = find(ConfigTableEntry::ACPI2_GUID).or_else(|| find(ConfigTableEntry::ACPI_GUID));
        found.map_or(0, |entry| entry.address as u64)
    })
}
