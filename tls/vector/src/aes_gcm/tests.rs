//! Published vectors, and comparison with RustCrypto's software.

use super::*;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit, aead::AeadInOut};
use std::{vec, vec::Vec};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Key, nonce, additional data, plaintext, ciphertext, tag: McGrew and Viega, "The Galois/Counter Mode of Operation",
/// appendix B, test cases 1 to 4 and 13 to 16, as far as their nonces have 96 bits.
const VECTORS: &[[&str; 6]] = &[
    ["00000000000000000000000000000000", "000000000000000000000000", "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"],
    [
        "00000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "00000000000000000000000000000000",
        "0388dace60b6a392f328c2b971b2fe78",
        "ab6e47d42cec13bdf53a67b21257bddf",
    ],
    [
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
        "4d5c2af327cd64a62cf35abd2ba6fab4",
    ],
    [
        "feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        "5bc94fbc3221a5db94fae95ae7121a47",
    ],
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "",
        "",
        "530f8afbc74536b9a963b4f1c4cb738b",
    ],
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "000000000000000000000000",
        "",
        "00000000000000000000000000000000",
        "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ],
    [
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
        "b094dac5d93471bdec1a502270e3cc6c",
    ],
    [
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ],
];

/// A key, where the machine that tests has the instructions.
fn key(bytes: &[u8]) -> Option<Key> {
    Key::new(bytes)
}

#[test]
fn published_vectors() {
    for [key_hex, nonce, additional, plain, cipher, tag] in VECTORS.iter().map(|row| row.map(hex)) {
        let Some(key) = key(&key_hex) else { return };
        let nonce = nonce[..].try_into().unwrap();
        let mut data = plain.clone();
        assert_eq!(key.seal(&nonce, &additional, &mut data)[..], tag);
        assert_eq!(data, cipher);
        let tag: [u8; 16] = tag[..].try_into().unwrap();
        assert_eq!(key.open(&nonce, &additional, &mut data, &tag), Ok(()));
        assert_eq!(data, plain);
    }
}

/// xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn software(key: &[u8], nonce: &[u8; 12], additional: &[u8], data: &mut [u8]) -> [u8; 16] {
    let nonce = &(*nonce).into();
    match key.len() {
        16 => Aes128Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(nonce, additional, data.into()),
        _ => Aes256Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(nonce, additional, data.into()),
    }
    .unwrap()
    .into()
}

/// Every length up to some strides, then random ones, at every alignment; also what is around the data is looked at.
#[test]
fn it_agrees_with_software() {
    let random = &mut Random(0x1234_5678_9abc_def1);
    let lengths: Vec<usize> = (0..600).chain((0..60).map(|at| 600 + at * 311)).collect();
    for (row, len) in lengths.into_iter().enumerate() {
        let key_bytes = random.bytes(if row % 2 == 0 { 16 } else { 32 });
        let Some(key) = key(&key_bytes) else { return };
        let nonce: [u8; 12] = random.bytes(12).try_into().unwrap();
        let additional_len = (random.next() % 300) as usize;
        let additional = random.bytes(additional_len);
        let start = row % 17;
        let mut buffer = random.bytes(start + len + 17);
        let before = buffer.clone();
        let mut expected = buffer.clone();
        let expected_tag = software(&key_bytes, &nonce, &additional, &mut expected[start..start + len]);
        let tag = key.seal(&nonce, &additional, &mut buffer[start..start + len]);
        assert_eq!(tag, expected_tag, "tag of {len} bytes");
        assert_eq!(buffer, expected, "{len} bytes");
        assert_eq!(key.open(&nonce, &additional, &mut buffer[start..start + len], &tag), Ok(()), "{len} bytes");
        assert_eq!(buffer, before, "{len} bytes back");
    }
}

#[test]
fn every_changed_bit_is_noticed() {
    let random = &mut Random(77);
    let Some(key) = key(&random.bytes(16)) else { return };
    let nonce = [5; 12];
    let (additional, mut data) = (random.bytes(5), random.bytes(145));
    let tag = key.seal(&nonce, &additional, &mut data);
    for bit in 0..8 * data.len() {
        let mut changed = data.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.open(&nonce, &additional, &mut changed, &tag), Err(Forged), "bit {bit} of the data");
    }
    for bit in 0..128 {
        let mut changed = tag;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.open(&nonce, &additional, &mut data.clone(), &changed), Err(Forged), "bit {bit} of the tag");
    }
    assert_eq!(key.open(&nonce, &[], &mut data.clone(), &tag), Err(Forged));
    assert_eq!(key.open(&[6; 12], &additional, &mut data.clone(), &tag), Err(Forged));
    assert_eq!(key.open(&nonce, &additional, &mut data[..144].to_vec(), &tag), Err(Forged));
}

/// 32 bits of the counter wrap without touching the nonce (SP 800-38D, 6.2). No message of TLS is that long, so the
/// state is set by hand.
#[test]
fn the_counter_wraps_within_its_bits() {
    let Some(key) = key(&[9; 16]) else { return };
    let start = |counter: u32| {
        let mut block = [0xab; 16];
        block[12..].copy_from_slice(&counter.to_be_bytes());
        State { counter: u128::from_be_bytes(block).to_le_bytes(), hash: [0; 16] }
    };
    let mut together = vec![0; 16 * 20];
    let at = together.as_mut_ptr();
    // SAFETY: `together` has twenty blocks.
    unsafe { unikernel_aes_gcm_encrypt(&key, &mut start(u32::MAX - 6), at, at, 20) };
    let mut state = start(u32::MAX - 6);
    let mut one_by_one = vec![0; 16 * 20];
    for block in one_by_one.chunks_mut(16) {
        key.apply_keystream(&mut state, block);
    }
    assert_eq!(together, one_by_one);
    assert_eq!(state.counter, start(13).counter);
}

#[test]
fn keys_of_other_lengths_are_none() {
    for len in [0, 15, 17, 24, 31, 33] {
        assert!(Key::new(&vec![0; len]).is_none(), "{len} bytes");
    }
}

#[test]
fn a_key_that_goes_leaves_nothing() {
    let bytes: [u8; 32] = core::array::from_fn(|at| at as u8 + 1);
    let Some(key) = Key::new(&bytes) else { return };
    let mut key = core::mem::MaybeUninit::new(key);
    let memory = key.as_ptr().cast::<u8>();
    let has_key = || {
        // SAFETY: `key` is there, with every byte written, whether its value was dropped or not.
        let memory = unsafe { core::slice::from_raw_parts(memory, size_of::<Key>()) };
        (memory.windows(16).any(|part| part == &bytes[..16]), memory.iter().filter(|byte| **byte != 0).count())
    };
    assert!(has_key().0);
    // SAFETY: it was written above, and is not used after.
    unsafe { key.assume_init_drop() };
    // Only the number of rounds is left.
    assert_eq!(has_key(), (false, 1));
}
