//! SHA-256 and SHA-384 (FIPS 180-4), and HMAC (RFC 2104) with them.

use alloc::boxed::Box;
use hmac::{KeyInit, Mac};
use rustls::crypto::{
    hash::{self, HashAlgorithm},
    hmac as tls_hmac,
};
use sha2::Digest;

/// A hash function and its HMAC as rustls' traits.
macro_rules! hash {
    ($name:ident, $digest:ty, $algorithm:ident, $len:expr) => {
        #[doc = concat!(stringify!($algorithm), " and its HMAC.")]
        pub(super) struct $name;

        const _: () = {
            #[derive(Clone)]
            struct Running($digest);

            impl hash::Hash for $name {
                fn start(&self) -> Box<dyn hash::Context> {
                    Box::new(Running(<$digest>::new()))
                }

                fn hash(&self, data: &[u8]) -> hash::Output {
                    hash::Output::new(&<$digest>::digest(data))
                }

                fn output_len(&self) -> usize {
                    $len
                }

                fn algorithm(&self) -> HashAlgorithm {
                    HashAlgorithm::$algorithm
                }
            }

            impl hash::Context for Running {
                fn fork_finish(&self) -> hash::Output {
                    hash::Output::new(&self.0.clone().finalize())
                }

                fn fork(&self) -> Box<dyn hash::Context> {
                    Box::new(self.clone())
                }

                fn finish(self: Box<Self>) -> hash::Output {
                    hash::Output::new(&self.0.finalize())
                }

                fn update(&mut self, data: &[u8]) {
                    self.0.update(data);
                }
            }

            /// Both padded keys are hashed once, here, and not again for each message.
            struct Keyed(hmac::Hmac<$digest>);

            impl tls_hmac::Hmac for $name {
                fn with_key(&self, key: &[u8]) -> Box<dyn tls_hmac::Key> {
                    Box::new(Keyed(hmac::Hmac::new_from_slice(key).expect("HMAC takes keys of any length")))
                }

                fn hash_output_len(&self) -> usize {
                    $len
                }
            }

            impl tls_hmac::Key for Keyed {
                fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> tls_hmac::Tag {
                    let mut mac = self.0.clone();
                    mac.update(first);
                    for part in middle {
                        mac.update(part);
                    }
                    mac.update(last);
                    tls_hmac::Tag::new(&mac.finalize().into_bytes())
                }

                fn tag_len(&self) -> usize {
                    $len
                }
            }
        };
    };
}

hash!(Sha256, sha2::Sha256, SHA256, 32);
hash!(Sha384, sha2::Sha384, SHA384, 48);
