//! Checking of signatures, on certificates and in handshakes.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::{PublicKey, pkcs1::DecodeRsaPublicKey, pkcs1v15, pss, traits::PublicKeyParts};
use rustls::{
    SignatureScheme,
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id},
};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// What is accepted, by name in the handshake and by algorithm in certificates.
pub(super) const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        &P256_SHA256,
        &P256_SHA384,
        &P384_SHA256,
        &P384_SHA384,
        &ED25519,
        &PSS_SHA256,
        &PSS_SHA384,
        &PSS_SHA512,
        &PKCS1_SHA256,
        &PKCS1_SHA384,
        &PKCS1_SHA512,
    ],
    mapping: &[
        // In TLS 1.3 the first of each row counts; in TLS 1.2 the name leaves the curve open.
        (SignatureScheme::ECDSA_NISTP256_SHA256, &[&P256_SHA256, &P384_SHA256]),
        (SignatureScheme::ECDSA_NISTP384_SHA384, &[&P384_SHA384, &P256_SHA384]),
        (SignatureScheme::ED25519, &[&ED25519]),
        (SignatureScheme::RSA_PSS_SHA256, &[&PSS_SHA256]),
        (SignatureScheme::RSA_PSS_SHA384, &[&PSS_SHA384]),
        (SignatureScheme::RSA_PSS_SHA512, &[&PSS_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[&PKCS1_SHA256]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[&PKCS1_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[&PKCS1_SHA512]),
    ],
};

/// How a signature is checked: public key, message, signature.
type Check = fn(&[u8], &[u8], &[u8]) -> Option<()>;

struct Algorithm {
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    check: Check,
}

impl core::fmt::Debug for Algorithm {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.signature)
    }
}

impl SignatureVerificationAlgorithm for Algorithm {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        (self.check)(key, message, signature).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

static P256_SHA256: Algorithm =
    Algorithm { key: alg_id::ECDSA_P256, signature: alg_id::ECDSA_SHA256, check: p256::<Sha256> };
static P256_SHA384: Algorithm =
    Algorithm { key: alg_id::ECDSA_P256, signature: alg_id::ECDSA_SHA384, check: p256::<Sha384> };
static P384_SHA256: Algorithm =
    Algorithm { key: alg_id::ECDSA_P384, signature: alg_id::ECDSA_SHA256, check: p384::<Sha256> };
static P384_SHA384: Algorithm =
    Algorithm { key: alg_id::ECDSA_P384, signature: alg_id::ECDSA_SHA384, check: p384::<Sha384> };
static ED25519: Algorithm = Algorithm { key: alg_id::ED25519, signature: alg_id::ED25519, check: ed25519 };

fn p256<D: Digest>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(&D::digest(message), &signature).ok()
}

fn p384<D: Digest>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(&D::digest(message), &signature).ok()
}

fn ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    key.verify_strict(message, &ed25519_dalek::Signature::from_slice(signature).ok()?).ok()
}

/// The schemes of RSA with one hash.
macro_rules! rsa {
    ($digest:ty, $pss:ident, $pss_id:ident, $pkcs1:ident, $pkcs1_id:ident) => {
        static $pss: Algorithm = Algorithm {
            key: alg_id::RSA_ENCRYPTION,
            signature: alg_id::$pss_id,
            check: |key, message, signature| {
                let signature = pss::Signature::try_from(signature).ok()?;
                let key = pss::VerifyingKey::<$digest>::new(rsa_key(key)?);
                key.verify_prehash(&<$digest>::digest(message), &signature).ok()
            },
        };
        static $pkcs1: Algorithm = Algorithm {
            key: alg_id::RSA_ENCRYPTION,
            signature: alg_id::$pkcs1_id,
            check: |key, message, signature| {
                let signature = pkcs1v15::Signature::try_from(signature).ok()?;
                let key = pkcs1v15::VerifyingKey::<$digest>::new(rsa_key(key)?);
                key.verify_prehash(&<$digest>::digest(message), &signature).ok()
            },
        };
    };
}

rsa!(Sha256, PSS_SHA256, RSA_PSS_SHA256, PKCS1_SHA256, RSA_PKCS1_SHA256);
rsa!(Sha384, PSS_SHA384, RSA_PSS_SHA384, PKCS1_SHA384, RSA_PKCS1_SHA384);
rsa!(Sha512, PSS_SHA512, RSA_PSS_SHA512, PKCS1_SHA512, RSA_PKCS1_SHA512);

/// Keys of 2048 to 4096 bits: shorter ones are weak, and the time longer ones take is the sender's choice.
fn rsa_key(der: &[u8]) -> Option<PublicKey> {
    let key = PublicKey::from_pkcs1_der(der).ok()?;
    (super::sign::RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.n().bit_width()).then_some(key)
}

const RSA_BITS_MAX: u32 = 4096;
