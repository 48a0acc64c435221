//! LZ4 blocks in physical clusters.

use lz4_flex::block::{DecompressError, decompress_into};

/// Matches are at least so long.
const MATCH_LEN_MIN: usize = 4;

/// Bytes that `len` compressed ones can become: a byte that lengthens a match adds 255.
pub(super) fn len_max(len: usize) -> usize {
    len * 255
}

/// Fills `output` from a block. `is_padded`: it stands at the end of `source`, after zeros, and ends where that does.
/// Otherwise it stands at the start, before anything. False when it does not make sense.
pub(super) fn decode(source: &[u8], is_padded: bool, output: &mut [u8]) -> bool {
    if !is_padded {
        return decode_start(source, output).is_some();
    }
    // A block does not begin with a zero: its first sequence has literals.
    let block = &source[source.iter().position(|byte| *byte != 0).unwrap_or(source.len())..];
    match decompress_into(block, output) {
        Ok(len) => len == output.len(),
        Err(DecompressError::OutputTooSmall { .. }) => decode_start(block, output).is_some(),
        Err(_) => false,
    }
}

/// Fills `output` with the first bytes of a block, which may have more; `None` if it has fewer.
///
/// The format: a byte with two lengths of 4 bits, literals, a distance of two bytes; lengths of 15 go on in further
/// bytes.
fn decode_start(source: &[u8], output: &mut [u8]) -> Option<()> {
    let (mut at, mut done) = (0, 0);
    loop {
        let token = *source.get(at)?;
        at += 1;
        let len = length(source, &mut at, token >> 4)?.min(output.len() - done);
        output[done..done + len].copy_from_slice(source.get(at..at.checked_add(len)?)?);
        (at, done) = (at + len, done + len);
        if done == output.len() {
            return Some(());
        }
        let distance = usize::from(u16::from_le_bytes([*source.get(at)?, *source.get(at + 1)?]));
        at += 2;
        let end = length(source, &mut at, token & 15)?.saturating_add(MATCH_LEN_MIN).min(output.len() - done) + done;
        let from = done.checked_sub(distance).filter(|_| distance > 0)?;
        while done < end {
            // What was copied can be copied again with the next step.
            let len = (end - done).min(done - from);
            output.copy_within(from..from + len, done);
            done += len;
        }
    }
}

fn length(source: &[u8], at: &mut usize, short: u8) -> Option<usize> {
    let mut sum = usize::from(short);
    if short == 15 {
        loop {
            let byte = *source.get(*at)?;
            *at += 1;
            sum += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{vec, vec::Vec};

    #[test]
    fn blocks_anywhere_in_a_cluster() {
        let check = |text: Vec<u8>| {
            let block = lz4_flex::block::compress(&text);
            let padded = [&[0; 99][..], &block].concat();
            let followed = [&block[..], &[0; 99]].concat();
            for len in [0, 1, text.len() / 2, text.len() - 1, text.len()] {
                for (source, is_padded) in [(&padded, true), (&followed, false), (&block, true), (&block, false)] {
                    let mut output = vec![9; len];
                    assert!(len == 0 || decode(source, is_padded, &mut output), "{len} of {}", text.len());
                    assert!(output == text[..len]);
                }
            }
            assert!(!decode(&padded, true, &mut vec![0; text.len() + 1]));
            assert!(!decode(&block, false, &mut vec![0; text.len() + 1]));
            assert!(text.len() <= len_max(block.len()));
        };
        check(b"a".to_vec());
        check(b"abcd".repeat(1000));
        check((0..200).collect());
        check([7; 70_000].to_vec());
        check(b"xyzw123".to_vec());
    }

    #[test]
    fn blocks_that_make_no_sense() {
        let check = |source: &[u8]| {
            for is_padded in [true, false] {
                assert!(!decode(source, is_padded, &mut [0; 1000]), "{source:?} {is_padded}");
            }
        };
        check(&[]);
        check(&[0xf0, 255, 255]);
        check(&[0x1f, 1, 0, 255]);
        check(&[0x1f, 1, 0, 0, 255]);
        check(&[0x1f, 1, 2, 0, 255]);
        check(&[0x1f, 1, 1, 0, 255]);
        check(&[0x10; 100]);
    }
}
