//! QEMU's fw_cfg by its ports.

use super::port;
use crate::config::{self, Registers, Source};

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;

struct Ports;

impl Registers for Ports {
    fn select(&mut self, item: u16) {
        // SAFETY: the selector of fw_cfg touches no memory; where there is none nobody answers.
        unsafe { port::write(SELECTOR, item) };
    }

    fn read(&mut self, into: &mut [u8]) {
        // SAFETY: reading the register touches no memory.
        unsafe { port::read_bytes(DATA, into) };
    }
}

/// Adds the configuration that QEMU has for the app.
pub(super) fn init() -> crate::Result {
    match config::read(&mut Ports)? {
        Some(text) => config::add(Source::FwCfg, &text),
        None => Ok(()),
    }
}
