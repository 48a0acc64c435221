//! The I/O ports.

use core::arch::asm;
use x86_64::instructions::port::{PortRead, PortWrite};

/// Reads a port.
///
/// # Safety
///
/// The read has no effect on memory: no port of a device that would start a transfer the driver did not prepare.
pub(super) unsafe fn read<T: PortRead>(port: u16) -> T {
    // SAFETY: the caller's promise.
    unsafe { T::read_from_port(port) }
}

/// Writes a port.
///
/// # Safety
///
/// As for [`read`].
pub(super) unsafe fn write<T: PortWrite>(port: u16, value: T) {
    // SAFETY: the caller's promise.
    unsafe { T::write_to_port(port, value) }
}

/// Reads a port as often as there are bytes. A hypervisor leaves the virtual machine once for many of them.
///
/// # Safety
///
/// As for [`read`].
pub(super) unsafe fn read_bytes(port: u16, into: &mut [u8]) {
    // SAFETY: it writes `len` bytes from the slice's first on; the direction flag is clear, as everywhere. The caller
    // answers for the port.
    unsafe {
        asm!(
            "rep insb",
            in("dx") port, inout("rdi") into.as_mut_ptr() => _, inout("rcx") into.len() => _,
            options(nostack, preserves_flags),
        );
    }
}
