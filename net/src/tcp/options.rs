//! TCP options (RFC 9293, 3.1): maximum segment size, window scale (RFC 7323), selective acknowledgements (RFC 2018).
//!
//! No timestamps: they take 12 bytes and work in every segment; round trips are measured without them, and
//! sequence numbers cannot wrap within a segment's life in windows of 4 MiB.

use super::tuning::SCALE_MAX;

/// Blocks sent in one option at most: they leave room for other options beside them.
pub(super) const BLOCKS_MAX: usize = 3;

/// Received bytes above a gap: the first, and the one after the last.
pub(super) type Block = (u32, u32);

/// The options of a segment to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Options {
    #[default]
    None,
    Syn(SynOptions),
    Sack {
        blocks: [Block; BLOCKS_MAX],
        count: u8,
    },
}

/// What a SYN says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct SynOptions {
    pub(crate) mss: Option<u16>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack: bool,
}

impl Options {
    /// Bytes in the header, a multiple of four.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Options::None => 0,
            Options::Syn(syn) => syn.len(),
            Options::Sack { count, .. } => 4 + 8 * usize::from(*count),
        }
    }

    /// Writes them to `into`, which has [`len`](Self::len) bytes.
    #[inline]
    pub(crate) fn write(&self, into: &mut [u8]) {
        match self {
            Options::None => {}
            Options::Syn(syn) => syn.write(into),
            Options::Sack { blocks, count } => write_blocks(&blocks[..usize::from(*count)], into),
        }
    }
}

fn write_blocks(blocks: &[Block], into: &mut [u8]) {
    into[..4].copy_from_slice(&[1, 1, 5, 2 + 8 * blocks.len() as u8]);
    for (block, place) in blocks.iter().zip(into[4..].chunks_exact_mut(8)) {
        place[..4].copy_from_slice(&block.0.to_be_bytes());
        place[4..].copy_from_slice(&block.1.to_be_bytes());
    }
}

impl SynOptions {
    /// Reads the options of a SYN. Malformed ones end the reading, unknown ones are skipped.
    pub(crate) fn parse(options: &[u8]) -> SynOptions {
        let mut syn = SynOptions::default();
        for (kind, data) in Parts(options) {
            match (kind, data) {
                (2, &[high, low]) => syn.mss = Some(u16::from_be_bytes([high, low])),
                (3, &[scale]) => syn.scale = Some(scale.min(SCALE_MAX)),
                (4, &[]) => syn.sack = true,
                _ => {}
            }
        }
        syn
    }

    fn len(&self) -> usize {
        4 * (usize::from(self.mss.is_some()) + usize::from(self.scale.is_some()) + usize::from(self.sack))
    }

    fn write(&self, into: &mut [u8]) {
        let mut rest = into;
        let mut put = |bytes: [u8; 4]| {
            let (now, later) = core::mem::take(&mut rest).split_at_mut(4);
            now.copy_from_slice(&bytes);
            rest = later;
        };
        if let Some(mss) = self.mss {
            let [high, low] = mss.to_be_bytes();
            put([2, 4, high, low]);
        }
        if self.sack {
            put([1, 1, 4, 2]);
        }
        if let Some(scale) = self.scale {
            put([1, 3, 3, scale]);
        }
    }
}

/// The blocks of a selective acknowledgement, as they were sent.
pub(super) fn sack_blocks(options: &[u8]) -> impl Iterator<Item = Block> + '_ {
    let data = Parts(options).find(|(kind, _)| *kind == 5).map_or(&[][..], |(_, data)| data);
    data.chunks_exact(8).map(|block| (word(&block[..4]), word(&block[4..])))
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// Kind and data of each option, up to the end or the first malformed one.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                [1, ref rest @ ..] => self.0 = rest,
                [kind @ (2..), len @ (2..), ..] if usize::from(len) <= self.0.len() => {
                    let (option, rest) = self.0.split_at(len.into());
                    self.0 = rest;
                    return Some((kind, &option[2..]));
                }
                _ => return None,
            }
        }
    }
}
