//! The first Rust code: where the loader put the image, before anything has its address of this boot.

use super::{
    memory::{self, TooLittle},
    refuse, seed, serial,
    serial::console_line,
    start_info::StartInfo,
};
use crate::{entry, platform::exit};
use core::{cell::UnsafeCell, mem::MaybeUninit};

struct InfoSlot(UnsafeCell<MaybeUninit<StartInfo>>);

// SAFETY: written once in `plan`, before anybody reads it.
unsafe impl Sync for InfoSlot {}

static INFO: InfoSlot = InfoSlot(UnsafeCell::new(MaybeUninit::uninit()));

/// The loader's word.
///
/// # Safety
///
/// [`plan`] has returned.
pub(super) unsafe fn start_info() -> &'static StartInfo {
    // SAFETY: `plan` wrote it, and nobody writes it again.
    unsafe { (*INFO.0.get()).assume_init_ref() }
}

/// Reads the start info and plans the addresses of this boot. The boot code calls it, once.
///
/// Nothing that it leaves behind is an address: the image moves.
pub(super) unsafe extern "C" fn plan(start_info: u32) -> memory::Handover {
    serial::init();
    // SAFETY: the loader's address, passed on by the boot code; no memory has been given away yet.
    let info = unsafe { StartInfo::read(start_info) }.unwrap_or_else(|problem| refuse(problem));
    // SAFETY: nobody else runs.
    let info = unsafe { (*INFO.0.get()).write(info) };
    super::unprotected::init(info);
    let random = seed::words();
    // SAFETY: called once, in the map of the boot code.
    match unsafe { memory::plan(info, random) } {
        Ok(handover) => handover,
        Err(TooLittle { needed_mib }) => {
            console_line(format_args!(
                "unikernel: cannot start: too little memory; start the machine with -m {needed_mib}M"
            ));
            exit(entry::EXIT_BOOT_ERROR)
        }
    }
}
