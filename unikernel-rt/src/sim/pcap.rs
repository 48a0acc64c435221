//! Writes frames as a pcap file, which Wireshark and tshark read
//! (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-03.html>).

use crate::time::Instant;
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// LINKTYPE_ETHERNET.
const LINK_ETHERNET: u32 = 1;
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const SNAP_LEN: u32 = 65_535;

/// A capture file; complete when dropped.
pub struct Pcap(BufWriter<File>);

impl Pcap {
    /// Creates `path`, replacing what is there.
    ///
    /// # Errors
    ///
    /// The file cannot be created or written.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Pcap> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&MAGIC_MICROSECONDS.to_le_bytes())?;
        file.write_all(&[2, 0, 4, 0])?; // version 2.4
        file.write_all(&[0; 8])?; // reserved
        file.write_all(&SNAP_LEN.to_le_bytes())?;
        file.write_all(&LINK_ETHERNET.to_le_bytes())?;
        Ok(Pcap(file))
    }

    /// Adds a frame seen at `now`.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&mut self, now: Instant, frame: &[u8]) -> io::Result<()> {
        let micros = now.as_micros();
        let len = frame.len() as u32;
        for field in [(micros / 1_000_000) as u32, (micros % 1_000_000) as u32, len, len] {
            self.0.write_all(&field.to_le_bytes())?;
        }
        self.0.write_all(frame)
    }
}
