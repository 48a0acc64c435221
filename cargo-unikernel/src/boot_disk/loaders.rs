//! The loaders that the tool carries; `build.rs` makes them.

use anyhow::{Result, ensure};

/// What starts a kernel.
pub(super) struct Loaders {
    /// An EFI application.
    pub(super) uefi: &'static [u8],
    /// A boot sector, and what it loads.
    pub(super) bios: &'static [u8],
}

/// Fails where the tool cannot make disks.
pub(crate) fn check_loaders() -> Result<()> {
    loaders().map(drop)
}

/// Both loaders.
///
/// # Errors
///
/// The tool was built where a target was missing; the error says what to do.
pub(super) fn loaders() -> Result<Loaders> {
    let uefi = include_bytes!(concat!(env!("OUT_DIR"), "/uefi.efi"));
    let bios = include_bytes!(concat!(env!("OUT_DIR"), "/bios.bin"));
    for (loader, target) in [(&uefi[..], "x86_64-unknown-uefi"), (bios, "x86_64-unknown-none")] {
        ensure!(
            !loader.is_empty(),
            "this tool was built without a boot loader, as the Rust target {target} was not installed; run \
             `rustup target add {target}` and build or install the tool again"
        );
    }
    Ok(Loaders { uefi, bios })
}
