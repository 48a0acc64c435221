//! From the boot sector's jump to the kernel's entry.

use crate::{
    console::Console,
    firmware::{self, Disk},
};
use core::{arch::asm, convert::Infallible, fmt::Write, panic::PanicInfo, slice};
use unikernel_loader::{
    ARGUMENTS_PATH, KERNEL_PATH, ReadAt,
    arguments::{self, FILE_LEN_MAX, Line},
    fat::Volume,
    gpt, handover,
    kernel::Kernel,
    start_info::StartInfo,
};

/// Free pages; `real_mode` has the map.
const HANDOVER_PAGE: usize = 0x3_0000;
const START_INFO: usize = 0x3_1000;

/// The first Rust code, in 64-bit mode.
pub(crate) extern "C" fn main(drive: u32) -> ! {
    let Err(problem) = start(drive as u8);
    // The console cannot fail.
    let _ = writeln!(Console, "unikernel loader: {problem}");
    halt()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "unikernel loader: {info}");
    halt()
}

fn halt() -> ! {
    loop {
        // SAFETY: interrupts are off, so the machine stays here; it touches no memory.
        unsafe { asm!("hlt", options(nomem, nostack, preserves_flags)) };
    }
}

fn start(drive: u8) -> Result<Infallible, &'static str> {
    let mut disk = Disk::new(drive);
    let partition = gpt::find(&mut disk, gpt::EFI_SYSTEM)?;
    let mut volume = Volume::open(disk, partition.start)?;
    let line = arguments(&mut volume)?;
    let ram = firmware::ram()?;
    let mut file = volume.file(&KERNEL_PATH)?.ok_or("unikernel/kernel.elf is not there; create the image again")?;
    let kernel = Kernel::read(&mut file)?;
    let at = ram.place(kernel.len, ram.end())?;
    // SAFETY: RAM above 1 MiB and below 1 GiB, which is mapped one to one and which nobody uses.
    unsafe { (at as *mut u8).write_bytes(0, kernel.len as usize) };
    // SAFETY: it is all zeros since the line above.
    let memory = unsafe { slice::from_raw_parts_mut(at as *mut u8, kernel.len as usize) };
    for segment in kernel.segments() {
        let bytes = &mut memory[segment.offset as usize..][..segment.len as usize];
        file.read_at(segment.place, bytes)?;
    }
    let info = StartInfo::new(START_INFO as u64, &line, &ram, firmware::rsdp());
    // SAFETY: a free page, which is mapped one to one; a start info fits into one.
    unsafe { (START_INFO as *mut StartInfo).write(info) };
    // SAFETY: the page is free, below 4 GiB and mapped; kernel and start info are there, below 1 GiB. Interrupts are off, and the
    // BIOS has ended its requests to the disk.
    unsafe { handover::enter(HANDOVER_PAGE as *mut u8, (at + kernel.entry) as u32, START_INFO as u32) }
}

fn arguments(volume: &mut Volume<Disk>) -> Result<Line, &'static str> {
    let Some(mut file) = volume.file(&ARGUMENTS_PATH)? else { return Line::parse(b"") };
    let mut text = [0; FILE_LEN_MAX];
    let text = usize::try_from(file.len()).ok().and_then(|len| text.get_mut(..len)).ok_or(arguments::TOO_LONG)?;
    file.read_at(0, text)?;
    Line::parse(text)
}
