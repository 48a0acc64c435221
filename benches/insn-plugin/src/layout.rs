//! The file through which the plugin's counts reach the benchmark, as both sides see it.
//!
//! It is an array of `u64` in native byte order: a header of [`HEADER_WORDS`], and when a profile
//! was asked for, [`BLOCKS_MAX`] block records and [`ADDRESSES_MAX`] instruction addresses.

/// Header word: guest instructions executed. QEMU runs every iteration of a repeated string
/// instruction by itself, so `rep movsb` over N bytes counts about N here.
pub const ALL: usize = 0;
/// Header word: of [`ALL`], the repeated iterations of string instructions. Hardware would retire
/// about `ALL - REPEATED` instructions.
pub const REPEATED: usize = 1;
/// Header word: block records in use.
pub const BLOCKS_USED: usize = 2;
/// Header word: instruction addresses in use.
pub const ADDRESSES_USED: usize = 3;
/// Header word: blocks that found no free record and are missing from the profile.
pub const BLOCKS_LOST: usize = 4;

/// A page, so that the counters of a plain count need no more than that.
pub const HEADER_WORDS: usize = 512;

/// Words of a block record.
pub const BLOCK_WORDS: usize = 3;
/// Word of a block record: how often the block was executed.
pub const BLOCK_EXECUTIONS: usize = 0;
/// Word of a block record: index of its first instruction address.
pub const BLOCK_FIRST: usize = 1;
/// Word of a block record: how many instructions it has.
pub const BLOCK_LEN: usize = 2;

/// Distinct blocks a profile can hold. Linux with nginx uses about 60,000.
pub const BLOCKS_MAX: usize = 1 << 18;
/// Instruction addresses a profile can hold: blocks have six instructions on average.
pub const ADDRESSES_MAX: usize = 1 << 21;

/// Where the block records begin.
pub const BLOCKS_AT: usize = HEADER_WORDS;
/// Where the instruction addresses begin.
pub const ADDRESSES_AT: usize = BLOCKS_AT + BLOCKS_MAX * BLOCK_WORDS;
/// Words of the whole file when a profile is kept. Untouched pages of it take no space.
pub const PROFILE_WORDS: usize = ADDRESSES_AT + ADDRESSES_MAX;

/// Is this x86 machine code a string instruction with a REP prefix?
#[must_use]
pub fn is_repeated_string(code: &[u8]) -> bool {
    let mut repeated = false;
    for &byte in code {
        match byte {
            0xf2 | 0xf3 => repeated = true,
            // Operand size, address size, segments and REX may stand before the opcode.
            0x66 | 0x67 | 0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0x40..=0x4f => {}
            // INS and OUTS; MOVS and CMPS; STOS, LODS and SCAS.
            0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf => return repeated,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &[u8], want: bool) {
        assert_eq!(is_repeated_string(code), want);
    }

    #[test]
    fn rep_movsb() {
        check(&[0xf3, 0xa4], true);
    }

    #[test]
    fn rep_stosq() {
        check(&[0xf3, 0x48, 0xab], true);
    }

    #[test]
    fn movsb_alone() {
        check(&[0xa4], false);
    }

    #[test]
    fn a_prefix_before_something_else() {
        check(&[0xf3, 0x90], false);
    }

    #[test]
    fn the_file_has_room_for_all_addresses() {
        assert_eq!(PROFILE_WORDS, HEADER_WORDS + BLOCKS_MAX * BLOCK_WORDS + ADDRESSES_MAX);
    }
}
