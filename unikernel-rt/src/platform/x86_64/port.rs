//! The I/O ports.

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
