//! Records of the handshake, as rustls' traits want them encrypted. After the handshake, [`crate::record`] does it.

use super::aead::Algorithm;
use crate::record::{HEADER_LEN, Opener, Sealer, Version};
use alloc::{boxed::Box, vec::Vec};
use rustls::{
    ConnectionTrafficSecrets, Error, ProtocolVersion,
    crypto::cipher::{
        AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter,
        NONCE_LEN, OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls12AeadAlgorithm,
        Tls13AeadAlgorithm, UnsupportedOperationError,
    },
};

/// Bytes of the part of the nonce of AES-GCM that TLS 1.2 takes from the key block (RFC 5288, 3).
const GCM12_SALT_LEN: usize = 4;

/// What encrypts in one direction.
struct Direction<T>(T);

impl MessageEncrypter for Direction<Sealer> {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        let plain = message.payload.to_vec();
        let mut record = Vec::with_capacity(plain.len() + crate::limits::RECORD_OVERHEAD_MAX);
        self.0.seal_at(seq, u8::from(message.typ), &plain, &mut record);
        let payload = PrefixedPayload::from(&record[HEADER_LEN..]);
        // Both versions say on the wire that they are TLS 1.2 (RFC 8446, 5.1).
        Ok(OutboundOpaqueMessage::new(record[0].into(), ProtocolVersion::TLSv1_2, payload))
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + self.0.overhead()
    }
}

impl MessageDecrypter for Direction<Opener> {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let typ = u8::from(message.typ);
        let (typ, range) = self.0.open_at(seq, typ, &mut message.payload)?;
        let mut plain = message.into_plain_message_range(range);
        plain.typ = typ.into();
        // rustls reads messages by this; the wire says TLS 1.2 in both cases.
        if self.0.version() == Version::Tls13 {
            plain.version = ProtocolVersion::TLSv1_3;
        }
        Ok(plain)
    }
}

impl Tls13AeadAlgorithm for Algorithm {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        Box::new(Direction(Sealer::new(*self, key.as_ref(), &iv, Version::Tls13, 0)))
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        Box::new(Direction(Opener::new(*self, key.as_ref(), &iv, Version::Tls13, 0)))
    }

    fn key_len(&self) -> usize {
        Algorithm::key_len(*self)
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(secrets(*self, key, iv))
    }
}

impl Tls12AeadAlgorithm for Algorithm {
    fn encrypter(&self, key: AeadKey, iv: &[u8], explicit: &[u8]) -> Box<dyn MessageEncrypter> {
        Box::new(Direction(Sealer::new(*self, key.as_ref(), &tls12_iv(iv, explicit), Version::Tls12, 0)))
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        Box::new(Direction(Opener::new(*self, key.as_ref(), &tls12_iv(iv, &[]), Version::Tls12, 0)))
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        let enc_key_len = Algorithm::key_len(*self);
        match self {
            // RFC 7905, 2: the whole nonce comes from the key block.
            Algorithm::ChaCha20Poly1305 => {
                KeyBlockShape { enc_key_len, fixed_iv_len: NONCE_LEN, explicit_nonce_len: 0 }
            }
            // RFC 5288, 3. What follows is our start of the explicit part.
            _ => KeyBlockShape {
                enc_key_len,
                fixed_iv_len: GCM12_SALT_LEN,
                explicit_nonce_len: NONCE_LEN - GCM12_SALT_LEN,
            },
        }
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Ok(secrets(*self, key, tls12_iv(iv, explicit)))
    }
}

/// The part from the key block, then the explicit part, then zeros.
fn tls12_iv(fixed: &[u8], explicit: &[u8]) -> Iv {
    let mut iv = [0; NONCE_LEN];
    for (byte, from) in iv.iter_mut().zip(fixed.iter().chain(explicit)) {
        *byte = *from;
    }
    Iv::new(iv)
}

fn secrets(algorithm: Algorithm, key: AeadKey, iv: Iv) -> ConnectionTrafficSecrets {
    match algorithm {
        Algorithm::Aes128Gcm => ConnectionTrafficSecrets::Aes128Gcm { key, iv },
        Algorithm::Aes256Gcm => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        Algorithm::ChaCha20Poly1305 => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
    }
}
