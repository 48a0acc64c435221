//! Private keys: ECDSA over P-256 and P-384, Ed25519, RSA; in PKCS #8, SEC 1 or PKCS #1.

use alloc::{boxed::Box, format, string::ToString, sync::Arc, vec::Vec};
use core::fmt;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use p256::ecdsa::signature::{RandomizedSigner, SignatureEncoding, Signer as _};
use rsa::{pkcs1::DecodeRsaPrivateKey, traits::PublicKeyParts};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id},
    sign::{Signer, SigningKey, public_key_to_spki},
};

/// Keys shorter than this are within reach of an attacker (NIST SP 800-57 part 1, 5.6.1).
pub(super) const RSA_BITS_MIN: u32 = 2048;

/// Reads a private key of any kind we have.
pub(super) fn load(der: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, Error> {
    if let Some(key) = p256_key(der) {
        let point = key.verifying_key().to_sec1_point(false);
        let spki = public_key_to_spki(&alg_id::ECDSA_P256, point.as_bytes());
        return Ok(key_of(Secret::P256(Box::new(key)), P256_SCHEMES, spki));
    }
    if let Some(key) = p384_key(der) {
        let point = key.verifying_key().to_sec1_point(false);
        let spki = public_key_to_spki(&alg_id::ECDSA_P384, point.as_bytes());
        return Ok(key_of(Secret::P384(Box::new(key)), P384_SCHEMES, spki));
    }
    if let PrivateKeyDer::Pkcs8(der) = der
        && let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_der(der.secret_pkcs8_der())
    {
        let spki = public_key_to_spki(&alg_id::ED25519, key.verifying_key().as_bytes());
        return Ok(key_of(Secret::Ed25519(Box::new(key)), ED25519_SCHEMES, spki));
    }
    let key = rsa_key(der).ok_or_else(|| {
        Error::General(
            "the private key is none of ECDSA P-256, ECDSA P-384, Ed25519 and RSA, or is damaged".to_string(),
        )
    })?;
    if key.n().bit_width() < RSA_BITS_MIN {
        return Err(Error::General(format!(
            "the RSA key has {} bits; use one of {RSA_BITS_MIN} or more",
            key.n().bit_width()
        )));
    }
    let public = rsa::pkcs1::EncodeRsaPublicKey::to_pkcs1_der(&key.to_public_key())
        .map_err(|_| Error::General("the RSA key's public half cannot be encoded".to_string()))?;
    let spki = public_key_to_spki(&alg_id::RSA_ENCRYPTION, public.as_bytes());
    Ok(key_of(Secret::Rsa(Box::new(key)), super::suites::RSA, spki))
}

fn p256_key(der: &PrivateKeyDer<'_>) -> Option<p256::ecdsa::SigningKey> {
    match der {
        PrivateKeyDer::Pkcs8(der) => p256::SecretKey::from_pkcs8_der(der.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Sec1(der) => p256::SecretKey::from_sec1_der(der.secret_sec1_der()).ok(),
        _ => None,
    }
    .map(Into::into)
}

fn p384_key(der: &PrivateKeyDer<'_>) -> Option<p384::ecdsa::SigningKey> {
    match der {
        PrivateKeyDer::Pkcs8(der) => p384::SecretKey::from_pkcs8_der(der.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Sec1(der) => p384::SecretKey::from_sec1_der(der.secret_sec1_der()).ok(),
        _ => None,
    }
    .map(Into::into)
}

fn rsa_key(der: &PrivateKeyDer<'_>) -> Option<rsa::PrivateKey> {
    match der {
        PrivateKeyDer::Pkcs8(der) => rsa::PrivateKey::from_pkcs8_der(der.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(der) => rsa::PrivateKey::from_pkcs1_der(der.secret_pkcs1_der()).ok(),
        _ => None,
    }
}

static P256_SCHEMES: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
static P384_SCHEMES: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP384_SHA384];
static ED25519_SCHEMES: &[SignatureScheme] = &[SignatureScheme::ED25519];

/// The secret half of a key.
enum Secret {
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Rsa(Box<rsa::PrivateKey>),
}

struct Key {
    secret: Secret,
    schemes: &'static [SignatureScheme],
    spki: SubjectPublicKeyInfoDer<'static>,
}

/// A key, for signing in one scheme.
struct Chosen {
    key: Shared,
    scheme: SignatureScheme,
}

#[derive(Clone)]
struct Shared(Arc<Key>);

fn key_of(
    secret: Secret,
    schemes: &'static [SignatureScheme],
    spki: SubjectPublicKeyInfoDer<'static>,
) -> Arc<dyn SigningKey> {
    Arc::new(Shared(Arc::new(Key { secret, schemes, spki })))
}

/// Says which kind of key it is, and nothing about the key.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private key for {:?}", self.0.schemes)
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private key for {:?}", self.scheme)
    }
}

impl SigningKey for Shared {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.0.schemes.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Chosen { key: self.clone(), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.spki.clone())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.secret {
            Secret::P256(_) | Secret::P384(_) => SignatureAlgorithm::ECDSA,
            Secret::Ed25519(_) => SignatureAlgorithm::ED25519,
            Secret::Rsa(_) => SignatureAlgorithm::RSA,
        }
    }
}

impl Signer for Chosen {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = match &self.key.0.secret {
            Secret::P256(key) => {
                key.try_sign(message).map(|signature: p256::ecdsa::DerSignature| signature.as_bytes().to_vec())
            }
            Secret::P384(key) => {
                key.try_sign(message).map(|signature: p384::ecdsa::DerSignature| signature.as_bytes().to_vec())
            }
            Secret::Ed25519(key) => key.try_sign(message).map(|signature| signature.to_bytes().to_vec()),
            Secret::Rsa(key) => sign_rsa(key, self.scheme, message),
        };
        signature.map_err(|_| Error::General("the private key cannot sign".to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// With a blinding factor from the machine's generator, against an observer of the time it takes.
fn sign_rsa(
    key: &rsa::PrivateKey,
    scheme: SignatureScheme,
    message: &[u8],
) -> Result<Vec<u8>, p256::ecdsa::signature::Error> {
    use rsa::{pkcs1v15, pss};
    use sha2::{Sha256, Sha384, Sha512};
    let (random, key) = (&mut super::Random, key.clone());
    Ok(match scheme {
        SignatureScheme::RSA_PSS_SHA256 => {
            pss::SigningKey::<Sha256>::new(key).try_sign_with_rng(random, message)?.to_vec()
        }
        SignatureScheme::RSA_PSS_SHA384 => {
            pss::SigningKey::<Sha384>::new(key).try_sign_with_rng(random, message)?.to_vec()
        }
        SignatureScheme::RSA_PSS_SHA512 => {
            pss::SigningKey::<Sha512>::new(key).try_sign_with_rng(random, message)?.to_vec()
        }
        SignatureScheme::RSA_PKCS1_SHA256 => {
            pkcs1v15::SigningKey::<Sha256>::new(key).try_sign_with_rng(random, message)?.to_vec()
        }
        SignatureScheme::RSA_PKCS1_SHA384 => {
            pkcs1v15::SigningKey::<Sha384>::new(key).try_sign_with_rng(random, message)?.to_vec()
        }
        _ => pkcs1v15::SigningKey::<Sha512>::new(key).try_sign_with_rng(random, message)?.to_vec(),
    })
}
