//! The cryptography behind rustls: a provider made of RustCrypto's crates, and of assembly where that pays.
//!
//! `aead` encrypts records, for rustls during the handshake and for `record` after it; the other modules translate
//! between rustls' traits and the crates.

pub(crate) mod aead;
mod cipher;
mod hash;
mod kx;
mod sign;
mod suites;
mod verify;

pub(crate) use suites::GCM_RECORDS_MAX as RECORDS_PER_KEY;

use alloc::sync::Arc;
use rustls::{
    crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom},
    pki_types::PrivateKeyDer,
    sign::SigningKey,
};

/// The machine's generator as rustls and the crates want it.
#[derive(Debug)]
pub(crate) struct Random;

impl SecureRandom for Random {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        unikernel_rt::entropy::fill(bytes);
        Ok(())
    }
}

#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        sign::load(&der)
    }
}

/// Everything rustls needs.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites::in_order(),
        kx_groups: kx::ALL.to_vec(),
        signature_verification_algorithms: verify::ALGORITHMS,
        secure_random: &Random,
        key_provider: &Keys,
    })
}

impl p256::elliptic_curve::rand_core::TryRng for Random {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(unikernel_rt::entropy::u64() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(unikernel_rt::entropy::u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        unikernel_rt::entropy::fill(bytes);
        Ok(())
    }
}

impl p256::elliptic_curve::rand_core::TryCryptoRng for Random {}
