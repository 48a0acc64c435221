//! Key exchange: X25519 (RFC 7748), and ECDH over P-256 and P-384 (RFC 8446, 4.2.8.2).

use alloc::{boxed::Box, vec::Vec};
use p256::elliptic_curve::sec1::ToSec1Point;
use rustls::{
    Error, NamedGroup, PeerMisbehaved,
    crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup},
};
use zeroize::Zeroizing;

/// The groups in the order in which we like them: the cheapest first.
pub(super) static ALL: &[&dyn SupportedKxGroup] = &[&X25519, &P256, &P384];

const INVALID: Error = Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare);

fn random<const LEN: usize>() -> Zeroizing<[u8; LEN]> {
    let mut bytes = Zeroizing::new([0; LEN]);
    unikernel_rt::entropy::fill(&mut *bytes);
    bytes
}

#[derive(Debug)]
struct X25519;

struct X25519Exchange {
    secret: x25519_dalek::EphemeralSecret,
    public: x25519_dalek::PublicKey,
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = x25519_dalek::EphemeralSecret::random_from_rng(&mut super::Random);
        let public = (&secret).into();
        Ok(Box::new(X25519Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for X25519Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| INVALID)?;
        let shared = self.secret.diffie_hellman(&peer.into());
        // RFC 7748, 6.1: an all-zero result comes from a point of small order.
        if !shared.was_contributory() {
            return Err(INVALID);
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// A prime curve of NIST's as a group.
macro_rules! prime_curve {
    ($name:ident, $exchange:ident, $curve:ident, $group:ident, $len:expr) => {
        #[derive(Debug)]
        struct $name;

        struct $exchange {
            secret: $curve::SecretKey,
            /// Uncompressed (SEC 1, 2.3.3).
            public: Vec<u8>,
        }

        impl SupportedKxGroup for $name {
            fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
                // A number of this length is zero or beyond the group's order once in 2^32 times or less often.
                let secret = loop {
                    if let Ok(secret) = $curve::SecretKey::from_slice(&*random::<$len>()) {
                        break secret;
                    }
                };
                let public = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
                Ok(Box::new($exchange { secret, public }))
            }

            fn name(&self) -> NamedGroup {
                NamedGroup::$group
            }
        }

        impl ActiveKeyExchange for $exchange {
            fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
                // RFC 8446, 4.2.8.2: uncompressed points only. That the point is on the curve is checked here, too.
                if peer.first() != Some(&4) {
                    return Err(INVALID);
                }
                let peer = $curve::PublicKey::from_sec1_bytes(peer).map_err(|_| INVALID)?;
                Ok(SharedSecret::from(&self.secret.diffie_hellman(&peer).raw_secret_bytes()[..]))
            }

            fn pub_key(&self) -> &[u8] {
                &self.public
            }

            fn group(&self) -> NamedGroup {
                NamedGroup::$group
            }
        }
    };
}

prime_curve!(P256, P256Exchange, p256, secp256r1, 32);
prime_curve!(P384, P384Exchange, p384, secp384r1, 48);
