//! AES-128-GCM and AES-256-GCM: keys and whole messages in Rust, blocks in assembly (`aes_gcm.s`).

use crate::{Forged, NONCE_LEN, TAG_LEN, cpu};
use core::arch::global_asm;

global_asm!(include_str!("aes_gcm.s"));

/// Bytes of a block.
const BLOCK_LEN: usize = 16;

/// A key, expanded. The layout is the assembly's.
#[repr(C, align(64))]
pub struct Key {
    /// Up to 15 round keys.
    round_keys: [[u8; BLOCK_LEN]; 15],
    /// 10 or 14.
    rounds: u64,
    reserved: u64,
    /// The hash key's powers, 8th to 1st, each times x^-1 and with its bytes reversed.
    powers: [[u8; BLOCK_LEN]; 8],
    /// For Karatsuba's multiplication: both halves of each power added, two to a block.
    halves: [[u8; BLOCK_LEN]; 4],
}

/// What the assembly carries from block to block, with bytes reversed.
#[repr(C, align(16))]
struct State {
    counter: [u8; BLOCK_LEN],
    hash: [u8; BLOCK_LEN],
}

// Each takes a key that `unikernel_aes_gcm_init` filled (except that one, which needs its `round_keys[0]` and, for
// AES-256, `round_keys[1]` to hold the key, and `rounds` to be 10 or 14), and reads or writes whole blocks.
unsafe extern "sysv64" {
    fn unikernel_aes_gcm_init(key: *mut Key);
    fn unikernel_aes_gcm_block(key: *const Key, input: *const u8, output: *mut u8);
    fn unikernel_aes_gcm_hash(key: *const Key, state: *mut State, data: *const u8, blocks: usize);
    fn unikernel_aes_gcm_encrypt(key: *const Key, state: *mut State, from: *const u8, to: *mut u8, blocks: usize);
    fn unikernel_aes_gcm_decrypt(key: *const Key, state: *mut State, from: *const u8, to: *mut u8, blocks: usize);
}

impl Key {
    /// Expands a key of 16 or 32 bytes. `None` for other lengths, or where the CPU has not what it takes.
    pub fn new(bytes: &[u8]) -> Option<Key> {
        let rounds = match bytes.len() {
            16 => 10,
            32 => 14,
            _ => return None,
        };
        if !cpu::has_aes_gcm() {
            return None;
        }
        let mut key = Key {
            round_keys: [[0; BLOCK_LEN]; 15],
            rounds,
            reserved: 0,
            powers: [[0; BLOCK_LEN]; 8],
            halves: [[0; BLOCK_LEN]; 4],
        };
        key.round_keys.as_flattened_mut()[..bytes.len()].copy_from_slice(bytes);
        // SAFETY: `key` is whole and ours alone, holds the key and its rounds, and the CPU has the instructions, as
        // `has_aes_gcm` has just said. That a `Key` exists means the same for the calls below.
        unsafe { unikernel_aes_gcm_init(&mut key) };
        Some(key)
    }

    /// Encrypts `data` where it is, and authenticates it together with `additional`. A nonce must serve one message
    /// only. `data` must be shorter than 64 GiB, as the block counter has 32 bits.
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], additional: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let mut state = State::new(nonce);
        let mask = self.mask(&mut state);
        self.hash_padded(&mut state, additional);
        let lengths = lengths(additional, data);
        let (blocks, rest) = data.as_chunks_mut::<BLOCK_LEN>();
        let at = blocks.as_mut_ptr().cast::<u8>();
        // SAFETY: `at` has `blocks.len()` whole blocks, which are ours to read and write; the function reads each
        // before it writes it.
        unsafe { unikernel_aes_gcm_encrypt(self, &mut state, at, at, blocks.len()) };
        if !rest.is_empty() {
            self.apply_keystream(&mut state, rest);
            self.hash_padded(&mut state, rest);
        }
        self.tag(state, lengths, mask)
    }

    /// Decrypts `data` where it is. When it is [`Forged`], `data` is not to be used.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        additional: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Forged> {
        let mut state = State::new(nonce);
        let mask = self.mask(&mut state);
        self.hash_padded(&mut state, additional);
        let lengths = lengths(additional, data);
        let (blocks, rest) = data.as_chunks_mut::<BLOCK_LEN>();
        let at = blocks.as_mut_ptr().cast::<u8>();
        // SAFETY: as in `seal`.
        unsafe { unikernel_aes_gcm_decrypt(self, &mut state, at, at, blocks.len()) };
        if !rest.is_empty() {
            self.hash_padded(&mut state, rest);
            self.apply_keystream(&mut state, rest);
        }
        let computed = self.tag(state, lengths, mask);
        // All bytes are looked at, so that the time does not tell how many were right.
        let difference = computed.iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
        if core::hint::black_box(difference) == 0 { Ok(()) } else { Err(Forged) }
    }

    /// The first block of the keystream, which hides the tag.
    fn mask(&self, state: &mut State) -> [u8; BLOCK_LEN] {
        let mut mask = [0; BLOCK_LEN];
        self.apply_keystream(state, &mut mask);
        mask
    }

    /// Adds the next block of the keystream to up to a block of data.
    fn apply_keystream(&self, state: &mut State, data: &mut [u8]) {
        let counter = u128::from_le_bytes(state.counter);
        let block = counter.to_be_bytes();
        let mut keystream = [0; BLOCK_LEN];
        // SAFETY: both are one block, and ours.
        unsafe { unikernel_aes_gcm_block(self, block.as_ptr(), keystream.as_mut_ptr()) };
        for (byte, key) in data.iter_mut().zip(keystream) {
            *byte ^= key;
        }
        // 32 bits count, and wrap (SP 800-38D, 6.2).
        let next = (counter >> 32 << 32) | u128::from((counter as u32).wrapping_add(1));
        state.counter = next.to_le_bytes();
    }

    /// Hashes data that ends with zeros up to a whole block.
    fn hash_padded(&self, state: &mut State, data: &[u8]) {
        let (blocks, rest) = data.as_chunks::<BLOCK_LEN>();
        self.hash(state, blocks);
        if !rest.is_empty() {
            let mut block = [0; BLOCK_LEN];
            block[..rest.len()].copy_from_slice(rest);
            self.hash(state, &[block]);
        }
    }

    fn hash(&self, state: &mut State, blocks: &[[u8; BLOCK_LEN]]) {
        // SAFETY: `blocks` has that many whole blocks to read, and `state` is ours.
        unsafe { unikernel_aes_gcm_hash(self, state, blocks.as_ptr().cast(), blocks.len()) };
    }

    fn tag(&self, mut state: State, lengths: [u8; BLOCK_LEN], mask: [u8; BLOCK_LEN]) -> [u8; TAG_LEN] {
        self.hash(&mut state, &[lengths]);
        (u128::from_le_bytes(state.hash) ^ u128::from_be_bytes(mask)).to_be_bytes()
    }
}

impl State {
    /// At the first counter of a message with a nonce of 96 bits (SP 800-38D, 7.1).
    fn new(nonce: &[u8; NONCE_LEN]) -> State {
        let mut block = [0; BLOCK_LEN];
        block[..NONCE_LEN].copy_from_slice(nonce);
        block[BLOCK_LEN - 1] = 1;
        State { counter: u128::from_be_bytes(block).to_le_bytes(), hash: [0; BLOCK_LEN] }
    }
}

/// Both lengths in bits, as they end the hash.
fn lengths(additional: &[u8], data: &[u8]) -> [u8; BLOCK_LEN] {
    let bits = |bytes: &[u8]| u128::from(bytes.len() as u64 * 8);
    (bits(additional) << 64 | bits(data)).to_be_bytes()
}

/// Keys do not stay in memory that others get.
impl Drop for Key {
    fn drop(&mut self) {
        self.round_keys = [[0; BLOCK_LEN]; 15];
        self.powers = [[0; BLOCK_LEN]; 8];
        self.halves = [[0; BLOCK_LEN]; 4];
        core::hint::black_box(self);
    }
}

#[cfg(test)]
mod tests;
