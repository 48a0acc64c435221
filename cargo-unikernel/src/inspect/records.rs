//! The frames of a pcap file that comes in pieces of any length.

use anyhow::{Result, bail};

const HEAD_LEN: usize = 24;
const RECORD_HEAD_LEN: usize = 16;
/// Microseconds, in little-endian order: what the machine writes.
const MAGIC: [u8; 4] = [0xd4, 0xc3, 0xb2, 0xa1];
/// The machine keeps at most 256 KiB of a frame.
const FRAME_LEN_MAX: usize = 262_144;

/// Cuts a file into its head and whole frames.
#[derive(Default)]
pub(super) struct Records {
    waiting: Vec<u8>,
    has_head: bool,
}

impl Records {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// What is complete, with up to `max` frames, and how many they are.
    pub(super) fn take(&mut self, max: u64) -> Result<(Vec<u8>, u64)> {
        let (mut end, mut frames) = (0, 0);
        if !self.has_head {
            if self.waiting.len() < HEAD_LEN {
                return Ok((Vec::new(), 0));
            }
            if !self.waiting.starts_with(&MAGIC) {
                bail!("the answer is not a capture");
            }
            (self.has_head, end) = (true, HEAD_LEN);
        }
        while frames < max {
            let Some(head) = self.waiting.get(end..end + RECORD_HEAD_LEN) else { break };
            let len = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
            if len > FRAME_LEN_MAX {
                bail!("the answer is not a capture");
            }
            if self.waiting.len() < end + RECORD_HEAD_LEN + len {
                break;
            }
            (end, frames) = (end + RECORD_HEAD_LEN + len, frames + 1);
        }
        Ok((self.waiting.drain(..end).collect(), frames))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lens: &[u32]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.resize(HEAD_LEN, 0);
        for len in lens {
            file.extend([0; 8]);
            file.extend(len.to_le_bytes());
            file.extend(len.to_le_bytes());
            file.resize(file.len() + *len as usize, 7);
        }
        file
    }

    #[test]
    fn only_whole_frames_are_given() {
        let file = file(&[10, 0, 300]);
        for piece_len in [1, 7, 100, file.len()] {
            let (mut records, mut all, mut count) = (Records::default(), Vec::new(), 0);
            for piece in file[..file.len() - 1].chunks(piece_len) {
                records.push(piece);
                let (bytes, frames) = records.take(u64::MAX).unwrap();
                all.extend(bytes);
                count += frames;
            }
            assert_eq!((all.len(), count), (HEAD_LEN + 16 + 10 + 16, 2));
        }
    }

    #[test]
    fn no_more_frames_than_wanted() {
        let mut records = Records::default();
        records.push(&file(&[1, 2, 3]));
        assert_eq!(records.take(0).unwrap(), (file(&[]), 0));
        assert_eq!(records.take(2).unwrap().1, 2);
    }

    #[test]
    fn what_is_no_capture_is_an_error() {
        for bytes in [vec![b'x'; HEAD_LEN], [file(&[]), vec![0xff; RECORD_HEAD_LEN]].concat()] {
            let mut records = Records::default();
            records.push(&bytes);
            assert!(records.take(u64::MAX).is_err());
        }
    }
}
