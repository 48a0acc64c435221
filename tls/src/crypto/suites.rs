//! Cipher suites: those of TLS 1.3 (RFC 8446, B.4) and the ones of TLS 1.2 with forward secrecy and AEAD.

use super::{
    aead::Algorithm,
    hash::{Sha256, Sha384},
};
use alloc::vec::Vec;
use rustls::{
    CipherSuite, CipherSuiteCommon, SignatureScheme, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
    crypto::{KeyExchangeAlgorithm, hash::Hash, tls12::PrfUsingHmac, tls13::HkdfUsingHmac},
};

/// Records that one key of AES-GCM may encrypt (RFC 8446, 5.5; rustls' documentation has the calculation).
pub(crate) const GCM_RECORDS_MAX: u64 = 1 << 24;

/// Suites in the order in which we like them: AES first where the CPU computes it, and with that the smaller key and
/// hash, which are strong enough (NIST SP 800-57) and cheaper; else ChaCha20, which is faster in software.
pub(super) fn in_order() -> Vec<SupportedCipherSuite> {
    let mut suites = ALL.to_vec();
    if !super::aead::has_fast_aes() {
        suites.sort_by_key(|suite| !is_chacha(suite.suite()));
    }
    suites
}

fn is_chacha(suite: CipherSuite) -> bool {
    matches!(
        suite,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
    )
}

static ALL: &[SupportedCipherSuite] = &[
    SupportedCipherSuite::Tls13(&AES_128),
    SupportedCipherSuite::Tls13(&AES_256),
    SupportedCipherSuite::Tls13(&CHACHA20),
    SupportedCipherSuite::Tls12(&ECDSA_AES_128),
    SupportedCipherSuite::Tls12(&RSA_AES_128),
    SupportedCipherSuite::Tls12(&ECDSA_AES_256),
    SupportedCipherSuite::Tls12(&RSA_AES_256),
    SupportedCipherSuite::Tls12(&ECDSA_CHACHA20),
    SupportedCipherSuite::Tls12(&RSA_CHACHA20),
];

const fn common(suite: CipherSuite, algorithm: Algorithm) -> CipherSuiteCommon {
    let hash_provider: &'static dyn Hash = match algorithm {
        Algorithm::Aes256Gcm => &Sha384,
        _ => &Sha256,
    };
    let confidentiality_limit = match algorithm {
        Algorithm::ChaCha20Poly1305 => u64::MAX,
        _ => GCM_RECORDS_MAX,
    };
    CipherSuiteCommon { suite, hash_provider, confidentiality_limit }
}

macro_rules! tls13 {
    ($name:ident, $suite:ident, $algorithm:ident, $hash:expr) => {
        static $name: Tls13CipherSuite = Tls13CipherSuite {
            common: common(CipherSuite::$suite, Algorithm::$algorithm),
            hkdf_provider: &HkdfUsingHmac($hash),
            aead_alg: &Algorithm::$algorithm,
            quic: None,
        };
    };
}

macro_rules! tls12 {
    ($name:ident, $suite:ident, $algorithm:ident, $hash:expr, $schemes:expr) => {
        static $name: Tls12CipherSuite = Tls12CipherSuite {
            common: common(CipherSuite::$suite, Algorithm::$algorithm),
            prf_provider: &PrfUsingHmac($hash),
            kx: KeyExchangeAlgorithm::ECDHE,
            sign: $schemes,
            aead_alg: &Algorithm::$algorithm,
        };
    };
}

tls13!(AES_128, TLS13_AES_128_GCM_SHA256, Aes128Gcm, &Sha256);
tls13!(AES_256, TLS13_AES_256_GCM_SHA384, Aes256Gcm, &Sha384);
tls13!(CHACHA20, TLS13_CHACHA20_POLY1305_SHA256, ChaCha20Poly1305, &Sha256);
tls12!(ECDSA_AES_128, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, Aes128Gcm, &Sha256, ECDSA);
tls12!(ECDSA_AES_256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, Aes256Gcm, &Sha384, ECDSA);
tls12!(ECDSA_CHACHA20, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, ChaCha20Poly1305, &Sha256, ECDSA);
tls12!(RSA_AES_128, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, Aes128Gcm, &Sha256, RSA);
tls12!(RSA_AES_256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, Aes256Gcm, &Sha384, RSA);
tls12!(RSA_CHACHA20, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, ChaCha20Poly1305, &Sha256, RSA);

static ECDSA: &[SignatureScheme] =
    &[SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ECDSA_NISTP384_SHA384];

/// The smallest hash first: SHA-256 is as strong as the keys, and signing with it costs least.
pub(super) static RSA: &[SignatureScheme] = &[
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA512,
];
